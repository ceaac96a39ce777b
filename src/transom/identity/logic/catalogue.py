# SPDX-License-Identifier: Apache-2.0
"""The service catalogue as Keystone's documents say it: services, endpoints, regions.

Invariant: ids come from what they name, so they are the same in every process and after restarts.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from transom.identity.contract import CatalogueService

INTERFACES = ("public", "internal", "admin")


class Catalogue:
    """What is served where. Every service has one URL for all interfaces, in one region."""

    def __init__(self, services: Sequence[CatalogueService], region: str) -> None:
        self.region = region
        self._services = tuple(services)

    def of_token(self) -> list[dict[str, Any]]:
        """The catalogue inside a token."""
        return [
            {
                "id": self._service_id(service),
                "type": service.type,
                "name": service.name,
                "endpoints": [
                    {
                        "id": self._endpoint_id(service, interface),
                        "interface": interface,
                        "region": self.region,
                        "region_id": self.region,
                        "url": service.url,
                    }
                    for interface in INTERFACES
                ],
            }
            for service in self._services
        ]

    def services(self) -> list[dict[str, Any]]:
        return [
            {
                "id": self._service_id(service),
                "type": service.type,
                "name": service.name,
                "enabled": True,
                "description": "",
            }
            for service in self._services
        ]

    def endpoints(self) -> list[dict[str, Any]]:
        return [
            {
                "id": self._endpoint_id(service, interface),
                "service_id": self._service_id(service),
                "interface": interface,
                "region": self.region,
                "region_id": self.region,
                "url": service.url,
                "enabled": True,
            }
            for service in self._services
            for interface in INTERFACES
        ]

    def regions(self) -> list[dict[str, Any]]:
        return [{"id": self.region, "description": "", "parent_region_id": None}]

    def _service_id(self, service: CatalogueService) -> str:
        return _id("service", self.region, service.type)

    def _endpoint_id(self, service: CatalogueService, interface: str) -> str:
        return _id("endpoint", self.region, service.type, interface)


def _id(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
