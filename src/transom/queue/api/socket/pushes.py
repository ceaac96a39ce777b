# SPDX-License-Identifier: Apache-2.0
"""Subscriptions of a socket: a queue's messages are sent to it as they are posted.

Each reads on from where its queue ended when it was made, by the same listing as everybody's.

Invariants:
1. What is posted while it is subscribed is sent once, in the queue's order, whoever posted it:
   also what somebody has claimed by then, and what is delayed; not what is gone by then.
2. No more is read than the socket takes: messages wait in the queue, not here.
3. Before each page the socket's caller is asked for anew: nothing is sent for a token that has
   ended, to a role that was taken away, or of another project than that it was made in.
4. A subscription ends with its socket, with its `ttl` if it has one, and when it is deleted.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from msgspec import UNSET

from transom.errors import Conflict, TransomError
from transom.queue.api.socket import frames
from transom.queue.api.socket.actions import Actions, Asked
from transom.queue.api.wire.documents import Refusal
from transom.queue.app.watching import Watching
from transom.queue.logic import limits
from transom.queue.logic.subscriptions import MOST_TTL_S
from transom.queue.model import OutOfRange, Place
from transom.runtime.auth.context import Context
from transom.runtime.http.route import Answer
from transom.runtime.http.visits import Action
from transom.runtime.http.websocket import Code, Socket

log = logging.getLogger(__name__)
PUSHES_MOST = 64
PAUSE_S = 1.0
LIST = "GET /v2/queues/{queue}/messages"

Act = Callable[[Action, Context], Awaitable[tuple[Answer, str]]]
Caller = Callable[[], Awaitable[Context | None]]


@dataclass(slots=True)
class Push:
    """One subscription. `made_s`: by the loop's clock. `ttl_s`: None if it lives as its socket."""

    id: str
    queue: str
    ttl_s: int | None
    made_s: float
    task: "asyncio.Task[None]"


class Pushes:
    """Those of one socket. `caller`: whose the socket is now, None if nobody's any more."""

    def __init__(
        self,
        socket: Socket,
        actions: Actions,
        watching: Watching,
        act: Act,
        caller: Caller,
    ) -> None:
        self._socket = socket
        self._actions = actions
        self._watching = watching
        self._act = act
        self._caller = caller
        self._pushes: dict[str, Push] = {}
        self._is_text = True
        self._loop = asyncio.get_running_loop()

    def has(self, subscription_id: str) -> bool:
        return subscription_id in self._pushes

    async def create(self, asked: Asked, context: Context, *, is_text: bool) -> Answer:
        """Raises: OutOfRange, Conflict, TooManyRequests, and what watching the queue raises."""
        queue, ttl_s = asked.queue, _life(asked.named.ttl)
        with self._watching.waiter(context, queue):  # so a refusal is this request's
            marker = str(await self._watching.end(context, queue))
        if any(push.queue == queue for push in self._pushes.values()):
            raise Conflict(f"This socket is subscribed to {queue} already.")
        if len(self._pushes) >= PUSHES_MOST:
            raise Conflict(f"A socket has at most {PUSHES_MOST} subscriptions; delete one.")
        subscription_id = self._watching.new_id()
        self._is_text = is_text
        client = asked.action.headers["client-id"]
        task = self._loop.create_task(
            self._push(subscription_id, Place(context.project_id, queue), client, marker, ttl_s),
            name="queue-push",
        )
        task.add_done_callback(lambda done: self._ended(subscription_id, done))
        push = Push(subscription_id, queue, ttl_s, self._loop.time(), task)
        self._pushes[subscription_id] = push
        return Answer(201, {"subscription_id": subscription_id})

    def show(self, subscription_id: str) -> Answer:
        return Answer(200, self._shown(self._pushes[subscription_id]))

    def shown_of(self, queue: str) -> list[dict[str, Any]]:
        return [self._shown(push) for push in self._pushes.values() if push.queue == queue]

    async def delete(self, subscription_id: str) -> Answer:
        push = self._pushes.pop(subscription_id)
        push.task.cancel()
        await asyncio.wait([push.task])
        return Answer(204, f"Subscription {subscription_id} removed.")

    async def end(self) -> None:
        tasks = [push.task for push in self._pushes.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _ended(self, subscription_id: str, task: "asyncio.Task[None]") -> None:
        self._pushes.pop(subscription_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("push failed", exc_info=error)
            self._socket.close(Code.INTERNAL, "the server failed")

    def _shown(self, push: Push) -> dict[str, Any]:
        return {
            "id": push.id,
            "source": push.queue,
            "subscriber": "websocket",
            "ttl": push.ttl_s,
            "age": int(self._loop.time() - push.made_s),
            "options": {},
            "confirmed": True,
        }

    async def _caller_in(self, project_id: str) -> Context | None:
        """None if the socket is another project's by now, or nobody's."""
        context = await self._caller()
        return context if context is not None and context.project_id == project_id else None

    async def _push(
        self, subscription_id: str, place: Place, client: str, marker: str, ttl_s: int | None
    ) -> None:
        route, queue, project_id = self._actions.route(LIST), place.name, place.project_id
        if route is None:
            return
        query = {"echo": "true", "include_claimed": "true", "include_delayed": "true"}
        try:
            async with asyncio.timeout(ttl_s):
                while (context := await self._caller_in(project_id)) is not None:
                    with self._watching.waiter(context, queue) as waiter:
                        while (context := await self._caller_in(project_id)) is not None:
                            waiter.tries()
                            action = Action(
                                "subscription_push",
                                route,
                                {"queue": queue},
                                {**query, "marker": marker},
                                {"client-id": client},
                            )
                            answer, _ = await self._act(action, context)
                            if answer.status != 200:
                                if not self._goes_on(answer):
                                    return
                                await asyncio.sleep(PAUSE_S)
                                continue
                            for message in answer.body.messages:
                                await self._send(subscription_id, queue, message)
                                marker = message.id
                            if not answer.body.messages and not await waiter.rung():
                                break
                    await asyncio.sleep(PAUSE_S)  # the line was closed: the server drains
        except TimeoutError:
            pass
        except TransomError as error:
            log.warning("push ended", extra={"queue": queue, "detail": error.text})
            self._socket.close(Code.TRY_AGAIN, "messages cannot be pushed now; connect again")

    def _goes_on(self, answer: Answer) -> bool:
        """Whether it is worth another try. A refusal for good closes the socket."""
        if answer.status in (429, 503, 500):
            return True
        why = answer.body.description if isinstance(answer.body, Refusal) else ""
        self._socket.close(Code.POLICY, f"messages are pushed no more: {why}")
        return False

    async def _send(self, subscription_id: str, queue: str, message: Any) -> None:
        await self._socket.drain()
        pushed = {
            "Message_Type": "Notification",
            "queue_name": queue,
            "subscription_id": subscription_id,
            "id": message.id,
            "ttl": message.ttl,
            "body": message.body,
        }
        self._socket.send(frames.message(pushed, is_text=self._is_text), is_text=self._is_text)


def _life(ttl: Any) -> int | None:
    """Raises: OutOfRange."""
    if ttl is UNSET or ttl is None:
        return None
    if type(ttl) is not int:
        raise OutOfRange("The ttl of a subscription is a whole number of seconds.")
    return limits.within("The ttl of a subscription", ttl, 1, MOST_TTL_S)
