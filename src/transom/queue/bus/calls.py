# SPDX-License-Identifier: Apache-2.0
"""What other parts may ask of the queue over the bus: `post` and `stats`, on the topic `queue`.

    queue = Client(transport, Target(topic="queue", namespace="queue", version="1.0"))
    await queue.call({"project_id": project_id}, "post", queue="alarms", messages=[{"body": 1}])

Invariants:
1. The project is that of the request's context, and no request is without one.
2. It is served only where nobody but our own processes can be heard, or where the bus vouches for
   who sent a message; there only parties that may serve this topic themselves are heard.
3. Beyond that a caller may do in the project what its members may.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from transom.errors import BadRequest, Forbidden
from transom.messaging.authenticated import sender, serves
from transom.messaging.target import Target
from transom.messaging.transport import Transport
from transom.queue.app import QueueApp
from transom.queue.model import ClientId, NewMessage
from transom.runtime.auth.context import Context

TOPIC = "queue"
TARGET = Target(topic=TOPIC, namespace="queue", version="1.0")
CLIENT = ClientId(b"transom over bus")
"""By whom such messages were posted."""
ROLES = frozenset({"member", "reader"})


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    body: Any
    ttl: int | None = None
    delay: int | None = None
    key: str | None = None


class Calls:
    """The endpoint. `private`: nobody but our own processes can be heard on the bus."""

    target = Target(namespace="queue", version="1.0")

    def __init__(self, app: QueueApp, transport: Transport, *, private: bool) -> None:
        self._app = app
        self._transport = transport
        self._private = private

    async def post(
        self, context: Mapping[str, Any], queue: str, messages: Sequence[Mapping[str, Any]]
    ) -> list[str]:
        """The ids, in order; the queue comes to be if it is not there.

        `messages`: as over HTTP. Raises: Forbidden, BadRequest, and what a post raises.
        """
        known = self._context(context)
        try:
            asked = msgspec.convert(messages, list[_Asked])
        except msgspec.ValidationError as error:
            raise BadRequest(f"The messages do not fit: {error}.") from None
        if not asked:
            raise BadRequest("There is no message to post.")
        new = [
            NewMessage(msgspec.json.encode(one.body), one.ttl, one.delay, one.key) for one in asked
        ]
        size_bytes = sum(len(one.body) for one in new)
        posted = await self._app.messages.post(known, queue, CLIENT, new, size_bytes)
        return [str(message_id) for message_id in posted.ids]

    async def stats(self, context: Mapping[str, Any], queue: str) -> dict[str, int | None]:
        """How many messages the queue has, and the posting of the oldest, in ms since 1970."""
        found = await self._app.queues.stats(self._context(context), queue)
        return {
            "total": found.total,
            "free": found.free,
            "claimed": found.claimed,
            "oldest_ms": None if found.oldest is None else found.oldest.created_ms,
        }

    def _context(self, context: Mapping[str, Any]) -> Context:
        if not self._private and not serves(self._transport, TOPIC):
            raise Forbidden("This party may not use the queue over the bus.")
        project_id = context.get("project_id")
        if not isinstance(project_id, str) or not project_id:
            raise BadRequest("The call's context has no project_id.")
        user = sender() or "bus"
        return Context("", user_id=user, user_name=user, project_id=project_id, roles=ROLES)
