# SPDX-License-Identifier: Apache-2.0
"""One socket's life: whose it is, its requests and their order, what ends with it.

Invariants:
1. Nothing but `authenticate` is carried out for a socket that has shown no valid token, or for a
   frame that shows no signature which holds for it. A token is asked for anew before each request,
   as over HTTP: one that was revoked, or has ended, closes the socket with 4003.
2. The project is the token's. A frame that names another in `X-Project-ID` is refused. When the
   socket becomes another project's, its subscriptions end.
3. Requests on one queue keep their order (`logic.turns`). At most `socket_requests_max` are under
   way, and none is begun while the caller does not read its answers.
4. Every request is answered once, in kind, unless the socket is gone.
5. When the socket ends, what was begun is seen through, what waits for messages is given up, and
   then bound claims are released.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from transom.errors import Forbidden, TransomError, Unauthorized
from transom.queue.api.refusals import served
from transom.queue.api.socket import frames
from transom.queue.api.socket.actions import (
    CLAIM_CREATE,
    CLAIM_CREATE_MANY,
    SUBSCRIPTION_CREATE,
    Actions,
    Asked,
    shaped,
)
from transom.queue.api.socket.bound import RELEASED_AT_ONCE, BoundClaims
from transom.queue.api.socket.frames import Frame
from transom.queue.api.socket.pushes import Pushes
from transom.queue.api.wire.documents import Refusal
from transom.queue.api.wire.queues import ShownCounts, ShownStats
from transom.queue.app.watching import Watching
from transom.queue.logic.turns import Turns
from transom.queue.model import ClientId
from transom.runtime.auth.context import Context
from transom.runtime.clock import SystemClock
from transom.runtime.http.refusal import refusal
from transom.runtime.http.route import Admits, Answer, Call, Mount
from transom.runtime.http.visits import Action, Visit
from transom.runtime.http.websocket import Code, Message, Socket

AUTHENTICATE = "authenticate"
EXISTS = "HEAD /v2/queues/{queue}"
NOT_SIGNED_IN = "This socket is not authenticated; send the action authenticate with X-Auth-Token."
TOKEN_ENDED = "Authentication expired."  # noqa: S105
_SHOWN_HEADERS = {"retry-after": "Retry-After", "idempotency-replayed": "Idempotency-Replayed"}


@dataclass(slots=True)
class Job:
    """A request that was taken. `context`: whose; `token`: that it was let in by."""

    frame: Frame
    asked: Asked
    context: Context
    token: str


class SocketDoor:
    """Serves every socket of the queue. `mount`: its routes are the actions."""

    def __init__(self, mount: Mount, watching: Watching) -> None:
        self.actions = Actions(mount.routes)
        self.mount = mount
        self.watching = watching

    async def serve(self, socket: Socket, visit: Visit) -> None:
        """For `SocketRoute.handler`."""
        session = Session(self, socket, visit)
        try:
            while (message := await socket.receive()) is not None:
                await session.take(message)
        finally:
            await session.end()


class Session:
    """See the module."""

    def __init__(self, door: SocketDoor, socket: Socket, visit: Visit) -> None:
        self._actions = door.actions
        self._mount = door.mount
        self._socket = socket
        self._visit = visit
        self._loop = asyncio.get_running_loop()
        self._turns: Turns[Job] = Turns(overlapping=door.watching.keeps_order)
        self._tasks: set[asyncio.Task[None]] = set()
        self._under_way = 0
        self._room = asyncio.Event()
        self._token = visit.token
        self._known: Context | None = None
        self._signed_until_ms = 0
        self._ending: asyncio.TimerHandle | None = None
        self._bound = BoundClaims(door.actions, self._act)
        self._pushes = Pushes(socket, door.actions, door.watching, self._act, self._caller)
        if self._token:
            self._known = visit.cached(self._token)
        self._watch_time()

    # Taking requests

    async def take(self, message: Message) -> None:
        """Begins what a message asks for, or keeps it until its turn."""
        await self._socket.drain()
        try:
            frame = frames.decoded(message.data, is_text=message.is_text)
        except TransomError as error:
            self._refuse(frames.nothing(), error, message.is_text)
            return
        try:
            if frame.action == AUTHENTICATE:
                await self._authenticate(frame)
                return
            asked = self._actions.asked(frame)
            context = await self._whose(frame, asked)
            if context is None:
                return
        except TransomError as error:
            self._refuse(frame.echo, error, frame.is_text)
            return
        while self._under_way >= self._visit.limits.socket_requests_max:
            self._room.clear()
            await self._room.wait()
        self._under_way += 1
        job = Job(frame, asked, context, self._token)
        if self._turns.begins(asked.queue, asked.kind, job):
            self._begin(job)

    async def end(self) -> None:
        """See through, give up, release."""
        if self._ending is not None:
            self._ending.cancel()
        while self._tasks:  # what waits for messages is told by `hung_up`
            await asyncio.wait(list(self._tasks))
        await self._pushes.end()  # now that nothing makes another one
        releases = self._bound.releases()
        for at in range(0, len(releases), RELEASED_AT_ONCE):
            some = releases[at : at + RELEASED_AT_ONCE]
            await asyncio.gather(*(self._give_back(action, context) for action, context in some))

    # Who asks

    async def _authenticate(self, frame: Frame) -> None:
        token = frame.headers.get("x-auth-token", "")
        frame.echo.body = frames.nothing().body
        try:
            context = await self._visit.identified(token, frame.headers.get("x-service-token", ""))
            self._visit.belongs(context.project_id)
        except Unauthorized:
            body = {"error": "Authentication failed."}
            self._answer(frame, Answer(401, body), "")
            return
        if self._known is not None and self._known.project_id != context.project_id:
            await self._pushes.end()
        self._token, self._known = token, context
        self._watch_time()
        self._answer(frame, Answer(200, {"message": "Authentified."}), "")

    async def _whose(self, frame: Frame, asked: Asked) -> Context | None:
        """None if the socket is closed. Raises: Forbidden, and what asking raises."""
        admits: Admits | None = self._mount.admits
        if not self._token:
            signed = None if admits is None else self._signed(admits, frame, asked)
            if signed is None:
                self._visit.unidentified()
                raise Forbidden(NOT_SIGNED_IN)
            self._signed_until_ms = max(self._signed_until_ms, signed.expires_ms)
            self._watch_time()
            return signed
        context = await self._caller()
        if context is None:
            return None
        named = frame.headers.get("x-project-id")
        if named and named != context.project_id:
            raise Forbidden("X-Project-ID names another project than the token's.")
        return context

    def _signed(self, admits: Admits, frame: Frame, asked: Asked) -> Context | None:
        route, path = asked.action.route, asked.action.route.path
        for name, value in asked.action.path.items():
            path = path.replace(f"{{{name}}}", value)
        raw = [
            (name.encode("latin-1", "replace"), value.encode("latin-1", "replace"))
            for name, value in frame.headers.items()
        ]
        try:
            return admits(route.method, path, raw)
        except TransomError as error:
            self._visit.unidentified()
            raise Forbidden("The signature does not hold for this, or it has ended.") from error

    async def _caller(self) -> Context | None:
        """Whose the socket is; None, and it is closed, if its token is not valid any more."""
        context = self._visit.cached(self._token)
        if context is None:
            try:
                context = await self._visit.identified(self._token)
            except Unauthorized:
                self._socket.close(Code.TOKEN_ENDED, TOKEN_ENDED)
                return None
            self._known = context
            self._watch_time()
        return context

    def _watch_time(self) -> None:
        """Closes the socket when its token ends, or when it has shown neither a token nor a
        signature that still holds for too long."""
        self._stop_watch()
        call_later, close = self._loop.call_later, self._socket.close
        if not self._token:
            in_s = _left_s(self._signed_until_ms) + self._visit.limits.socket_sign_in_s
            self._ending = call_later(in_s, close, Code.POLICY, "authenticate sooner")
        elif self._known is not None and self._known.expires_ms:
            in_s = _left_s(self._known.expires_ms)
            self._ending = call_later(in_s, close, Code.TOKEN_ENDED, TOKEN_ENDED)

    def _stop_watch(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None

    # Carrying out

    def _begin(self, job: Job) -> None:
        task = self._loop.create_task(self._run(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, job: Job) -> None:
        try:
            answer, request_id = await self._carried_out(job)
            self._answer(job.frame, answer, request_id)
        finally:
            self._under_way -= 1
            self._room.set()
            for begun in self._turns.ended(job.asked.queue, job.asked.kind):
                self._begin(begun)

    async def _carried_out(self, job: Job) -> tuple[Answer, str]:
        asked, context = job.asked, job.context
        special = _SPECIAL.get(asked.action.name)
        try:
            if special is not None:
                return await special(self, job)
        except TransomError as error:
            return refusal(error, self._mount, "", {}), ""
        answer, request_id = await self._act(asked.action, context)
        return shaped(asked, answer), request_id

    async def _act(self, action: Action, context: Context) -> tuple[Answer, str]:
        return await self._visit.act(action, context, self._socket.ending.wait)

    async def _give_back(self, action: Action, context: Context) -> None:
        await self._visit.act(action, context, self._socket.ending.wait, of_ours=True)

    async def _claim(self, job: Job) -> tuple[Answer, str]:
        asked = job.asked
        if asked.named.bound is True:
            _need_token(job)
            await self._bound.make_room()
        answer, request_id = await self._act(asked.action, job.context)
        answer = shaped(asked, answer)
        if asked.named.bound is True and answer.status == 201:
            self._bound.bind(answer.body["claim_id"], asked, job.context)
        return answer, request_id

    async def _release(self, job: Job) -> tuple[Answer, str]:
        answer, request_id = await self._act(job.asked.action, job.context)
        if answer.status < 300:
            self._bound.forget(job.asked.action.path["claim"])
        return shaped(job.asked, answer), request_id

    async def _show_queue(self, job: Job) -> tuple[Answer, str]:
        exists = self._actions.beside(job.asked, EXISTS)
        answer, request_id = await self._act(exists, job.context)
        if answer.status < 300:
            answer, request_id = await self._act(job.asked.action, job.context)
        return shaped(job.asked, answer), request_id

    async def _stats(self, job: Job) -> tuple[Answer, str]:
        answer, request_id = await self._act(job.asked.action, job.context)
        if answer.status == 200 and not answer.body.messages.total:
            exists = self._actions.beside(job.asked, EXISTS)
            there, _ = await self._act(exists, job.context)
            if there.status == 404:
                answer = Answer(404, ShownStats(ShownCounts(0, 0, 0)))
        return shaped(job.asked, answer), request_id

    async def _subscribe(self, job: Job) -> tuple[Answer, str]:
        """Somebody is told of messages: whoever is named, else this socket."""

        async def pushed(call: Call[Any], client: ClientId) -> Answer:
            return await self._pushes.create(job.asked, call.context, is_text=job.frame.is_text)

        action = job.asked.action
        if job.asked.named.subscriber:
            shown = {} if job.context.signed else {"x-auth-token": job.token}  # for a trust
            action = replace(action, headers={**action.headers, "x-auth-token": "", **shown})
        else:
            _need_token(job)
            action = replace(action, route=replace(action.route, handler=served(pushed)))
        answer, request_id = await self._act(action, job.context)
        return shaped(job.asked, answer), request_id

    async def _subscription(self, job: Job) -> tuple[Answer, str]:
        subscription_id = job.asked.action.path["subscription"]
        if self._pushes.has(subscription_id):
            if job.asked.action.name == "subscription_get":
                return self._pushes.show(subscription_id), ""
            return await self._pushes.delete(subscription_id), ""
        answer, request_id = await self._act(job.asked.action, job.context)
        return shaped(job.asked, answer), request_id

    async def _subscriptions(self, job: Job) -> tuple[Answer, str]:
        answer, request_id = await self._act(job.asked.action, job.context)
        own = self._pushes.shown_of(job.asked.queue)
        if answer.status == 200 and own and "marker" not in job.asked.action.query:
            shown = [*own, *answer.body.subscriptions]
            answer = Answer(200, {"subscriptions": shown, "links": answer.body.links})
        return shaped(job.asked, answer), request_id

    # Answering

    def _answer(self, frame: Frame, answer: Answer, request_id: str) -> None:
        self._send(frame.echo, answer, request_id, frame.is_text)

    def _refuse(self, echo: frames.Echo, error: TransomError, is_text: bool) -> None:
        answer = refusal(error, self._mount, "", {})
        self._send(echo, answer, "", is_text)

    def _send(self, echo: frames.Echo, answer: Answer, request_id: str, is_text: bool) -> None:
        body = answer.body
        if isinstance(body, Refusal):
            body = {"error": body.description, "title": body.title}
        headers: dict[str, Any] = {"status": answer.status}
        if request_id:
            headers["X-Openstack-Request-Id"] = request_id
        for name, value in answer.headers.items():
            if name in _SHOWN_HEADERS:
                headers[_SHOWN_HEADERS[name]] = value
        self._socket.send(frames.reply(echo, body, headers, is_text=is_text), is_text=is_text)


def _left_s(end_ms: int) -> float:
    return max(0.0, (end_ms - SystemClock().now_ms()) / 1000)


def _need_token(job: Job) -> None:
    """What goes on after its answer is for who may do more than one thing. Raises: Forbidden."""
    if job.context.signed:
        raise Forbidden("A signed URL cannot be used for this; authenticate with a token.")


_SPECIAL: Mapping[str, Callable[[Session, Job], Awaitable[tuple[Answer, str]]]] = {
    CLAIM_CREATE: Session._claim,
    CLAIM_CREATE_MANY: Session._claim,
    "claim_delete": Session._release,
    "queue_get": Session._show_queue,
    "queue_get_stats": Session._stats,
    SUBSCRIPTION_CREATE: Session._subscribe,
    "subscription_get": Session._subscription,
    "subscription_delete": Session._subscription,
    "subscription_list": Session._subscriptions,
}
