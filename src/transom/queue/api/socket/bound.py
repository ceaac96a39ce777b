# SPDX-License-Identifier: Apache-2.0
"""Claims that end with their socket: whoever hangs up, or is killed, gives its messages back.

Invariants:
1. A bound claim is released once when its socket ends, by its own id alone; one that has ended by
   then is none any more, and nothing happens.
2. A process that is killed releases nothing: then its claims end as any do, by their ttl.
3. At most `BOUND_MOST` are bound to one socket; those that have ended are forgotten first.
"""

from collections.abc import Awaitable, Callable

from transom.errors import BadRequest
from transom.queue.api.socket.actions import Actions, Asked
from transom.runtime.auth.context import Context
from transom.runtime.http.route import Answer
from transom.runtime.http.visits import Action

BOUND_MOST = 256
RELEASED_AT_ONCE = 16

Act = Callable[[Action, Context], Awaitable[tuple[Answer, str]]]


class BoundClaims:
    """Of one socket."""

    def __init__(self, actions: Actions, act: Act) -> None:
        self._actions = actions
        self._act = act
        self._claims: dict[str, tuple[Asked, Context]] = {}

    async def make_room(self) -> None:
        """Raises: BadRequest if this socket has as many bound claims as it may."""
        if len(self._claims) < BOUND_MOST:
            return
        for claim_id, (asked, context) in list(self._claims.items()):
            answer, _ = await self._act(self._of(claim_id, asked, "GET"), context)
            if answer.status == 404 or (answer.status == 200 and not answer.body.messages):
                self._claims.pop(claim_id, None)
        if len(self._claims) >= BOUND_MOST:
            raise BadRequest(
                f"{BOUND_MOST} live claims are bound to this socket; end some, or open another."
            )

    def bind(self, claim_id: str, asked: Asked, context: Context) -> None:
        self._claims[claim_id] = (asked, context)

    def forget(self, claim_id: str) -> None:
        self._claims.pop(claim_id, None)

    def releases(self) -> list[tuple[Action, Context]]:
        """What releases them all, which then are bound no more."""
        claims, self._claims = self._claims, {}
        return [
            (self._of(claim_id, asked, "DELETE"), context)
            for claim_id, (asked, context) in claims.items()
        ]

    def _of(self, claim_id: str, asked: Asked, method: str) -> Action:
        queue = asked.action.path.get("queue")
        template = "/v2/claims/{claim}" if queue is None else "/v2/queues/{queue}/claims/{claim}"
        route = self._actions.route(f"{method} {template}")
        if route is None:  # the routes of a mount are there together
            raise BadRequest(f"There is no {method} of a claim here.")
        path = {"claim": claim_id} if queue is None else {"queue": queue, "claim": claim_id}
        name = "claim_get" if method == "GET" else "claim_delete"
        client = asked.action.headers.get("client-id", "")
        return Action(name, route, path, headers={"client-id": client})
