# SPDX-License-Identifier: Apache-2.0
"""From a request to its caller. Identity's own doors validate tokens themselves.

Invariant: to the doors these routes are public; each of them is public indeed, or goes through
`Callers.route`, whose handler is not called without a valid token.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from transom.identity.app.tokens import Caller, Tokens
from transom.runtime.http.route import Answer, Call, Parameter, Route
from transom.runtime.telemetry.correlation import current

CallerHandler = Callable[[Caller, Call[Any]], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Callers:
    """Makes routes that need a token."""

    tokens: Tokens

    def route(
        self,
        method: str,
        path: str,
        handler: CallerHandler,
        *,
        answers: Mapping[int, Any],
        summary: str,
        body: Any = None,
        parameters: tuple[Parameter, ...] = (),
    ) -> Route:
        async def serve(call: Call[Any]) -> Answer:
            text = call.headers.get("x-auth-token", "")
            caller = await self.tokens.caller(text, call.context.request_id)
            current.set(caller.context)
            return await handler(caller, call)

        return Route(
            method,
            path,
            serve,
            body=body,
            public=True,
            checks_token=True,
            parameters=parameters,
            answers=answers,
            summary=summary,
        )
