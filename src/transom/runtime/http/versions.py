# SPDX-License-Identifier: Apache-2.0
"""Version documents: how a client finds out which versions of an API are served, and where.

Source: https://specs.openstack.org/openstack/api-sig/guidelines/consuming-catalog/version-discovery.html
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypedDict

from transom.runtime.http.route import Answer


class VersionStatus(StrEnum):
    CURRENT = "CURRENT"
    SUPPORTED = "SUPPORTED"
    DEPRECATED = "DEPRECATED"
    EXPERIMENTAL = "EXPERIMENTAL"


@dataclass(frozen=True, slots=True)
class ApiVersion:
    """One version. `path`: below the API's root, `v2/`.

    `more`: what this API's documents say besides (`version` and `min_version` of microversions,
    `updated`, `media-types`).
    """

    id: str
    path: str
    status: VersionStatus = VersionStatus.CURRENT
    more: Mapping[str, Any] = field(default_factory=dict)


class VersionLink(TypedDict):
    rel: str
    href: str


class Version(TypedDict):
    """What an API's `more` says besides stands beside these."""

    id: str
    status: str
    links: list[VersionLink]


class Versions(TypedDict):
    versions: list[Version]


def version_document(version: ApiVersion, root_url: str) -> dict[str, Any]:
    """The description of one version. `root_url`: where the API is, with or without a slash."""
    link = {"rel": "self", "href": f"{root_url.rstrip('/')}/{version.path}"}
    return {"id": version.id, "status": version.status.value, "links": [link], **version.more}


def versions_answer(versions: Sequence[ApiVersion], root_url: str, *, status: int = 300) -> Answer:
    """All versions, as `{"versions": [...]}`; 300 (multiple choices) unless the API says 200."""
    documents = [version_document(version, root_url) for version in versions]
    return Answer(status, {"versions": documents})
