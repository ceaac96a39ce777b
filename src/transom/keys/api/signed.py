# SPDX-License-Identifier: Apache-2.0
"""Routes whose caller is proved by a signature in the body, and by no token."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from transom.keys.api import shapes
from transom.keys.app.grants import Granting
from transom.messaging.security.tickets import Purpose, Request
from transom.runtime.http.route import Answer, Call, Parameter, PlainError, Route
from transom.runtime.telemetry.audit import claim

Check = Callable[[Call[Any], Request], None]
"""What of a request has to fit the call. Raises: BadRequest."""


@dataclass(frozen=True, slots=True)
class Signed:
    """Makes such routes."""

    granting: Granting

    def route(
        self,
        method: str,
        path: str,
        purposes: Collection[Purpose],
        *,
        summary: str,
        parameters: tuple[Parameter, ...] = (),
        check: Check = lambda call, request: None,
    ) -> Route:
        async def handler(call: Call[shapes.Asked]) -> Answer:
            data = call.body.request
            request = self.granting.read(data, purposes)
            claim(call.context.request_id, "", request.source, "", "")
            check(call, request)
            return Answer(body=shapes.Granted(await self.granting.grant(data, request)))

        refusals = dict.fromkeys((401, 403, 404, 409, 429), PlainError)
        return Route(
            method,
            path,
            handler,
            body=shapes.Asked,
            body_bytes_max=shapes.BODY_BYTES_MAX,
            public=True,
            routine=method == "POST",
            parameters=parameters,
            answers={200: shapes.Granted, **refusals},
            summary=summary,
        )
