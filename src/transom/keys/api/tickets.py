# SPDX-License-Identifier: Apache-2.0
"""`/v1/tickets` and `/v1/certificates`: what parties ask for, signed; and certificates for all."""

from dataclasses import dataclass
from typing import Any

from transom.errors import BadRequest
from transom.keys.api import shapes
from transom.keys.api.paging import Text
from transom.keys.api.signed import Signed
from transom.keys.app.directory import Directory
from transom.messaging.security.tickets import Purpose, Request
from transom.runtime.http.route import Answer, Call, Parameter, Route

_OWN = Parameter("name", "The party that signs", Text, "path")
_WHOSE = (
    Parameter("topic", "With `server`: the topic that the party serves", shapes.Name),
    Parameter("server", "With `topic`: the server that it is there", shapes.Name),
    Parameter(
        "group", "Instead of both: a group, for the certificates of its members", shapes.Name
    ),
)


@dataclass(frozen=True, slots=True)
class TicketHandlers:
    """One method a route."""

    signed: Signed
    directory: Directory

    def routes(self) -> list[Route]:
        return [
            self.signed.route(
                "POST",
                "/v1/tickets",
                [Purpose.TICKET, Purpose.GROUP_TICKET],
                summary="Get a ticket to a party or to a group: signed, without a token",
            ),
            self.signed.route(
                "PUT",
                "/v1/certificates/{name}",
                [Purpose.ENROL],
                parameters=(_OWN,),
                check=_is_its_own,
                summary="Have one's public keys certified: signed, without a token",
            ),
            Route(
                "GET",
                "/v1/certificates",
                self.certificates,
                public=True,
                parameters=_WHOSE,
                answers={200: shapes.Certificates},
                summary="Get the certificates of who serves a topic, or of a group",
            ),
        ]

    async def certificates(self, call: Call[None]) -> Answer:
        asked = {name: call.query.get(name, "") for name in ("topic", "server", "group")}
        given = {name for name, text in asked.items() if text}
        if given == {"group"}:
            found = await self.directory.of_group(asked["group"])
        elif given == {"topic", "server"}:
            found = await self.directory.of_server(asked["topic"], asked["server"])
        else:
            raise BadRequest("Ask with `topic` and `server`, or with `group`.")
        return Answer(body=shapes.Certificates(found))


def _is_its_own(call: Call[Any], request: Request) -> None:
    if call.path["name"] != request.source:
        raise BadRequest("The path names another party than the request.")
