# SPDX-License-Identifier: Apache-2.0
"""The versions, and the authorities' public keys: what needs neither token nor signature."""

from dataclasses import dataclass

from transom.keys.api import shapes
from transom.keys.app.authorities import Authorities
from transom.runtime.http.route import Answer, Call, Route
from transom.runtime.http.versions import ApiVersion, Versions, version_document, versions_answer

V1 = ApiVersion("v1.0", "v1/")


@dataclass(frozen=True, slots=True)
class HomeHandlers:
    """`prefix`: of the mount."""

    authorities: Authorities
    prefix: str

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET",
                "",
                self.versions,
                public=True,
                answers={300: Versions},
                summary="List versions",
            ),
            Route(
                "GET",
                "/v1",
                self.version,
                public=True,
                answers={200: shapes.OneVersion},
                summary="Show the version",
            ),
            Route(
                "GET",
                "/v1/ca",
                self.known,
                public=True,
                answers={200: shapes.KnownAuthorities},
                summary="Show the public keys under which certificates are good",
            ),
        ]

    async def versions(self, call: Call[None]) -> Answer:
        return versions_answer([V1], self.prefix)

    async def version(self, call: Call[None]) -> Answer:
        return Answer(body={"version": version_document(V1, self.prefix)})

    async def known(self, call: Call[None]) -> Answer:
        found = await self.authorities.known()
        return Answer(body=shapes.KnownAuthorities([one.public_key for one in found]))
