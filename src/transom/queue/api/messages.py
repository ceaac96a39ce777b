# SPDX-License-Identifier: Apache-2.0
"""`/v2/queues/{queue}/messages` and one message of it."""

from collections.abc import Sequence

from msgspec import UNSET, Raw

from transom.errors import BadRequest
from transom.queue.api import query
from transom.queue.api.parameters import CLAIM_NAMED, DETAILS, IN_QUEUE, MESSAGE, Bounded
from transom.queue.api.refusals import InvalidBody, served
from transom.queue.api.wire import messages as wire
from transom.queue.api.wire.documents import Link
from transom.queue.app.messages import Messages
from transom.queue.model import (
    ClaimId,
    ClientId,
    Death,
    Message,
    MessageFilter,
    MessageId,
    NewMessage,
    Reason,
    claim_from,
    claim_text,
)
from transom.runtime.http.paging import next_link
from transom.runtime.http.route import Answer, Call, Route

PAGE_PARAMETERS = ("limit", "echo", "include_claimed", "include_delayed", "details")
IDS_IN_LOCATION = 100


class MessageHandlers:
    """One method a route."""

    def __init__(self, messages: Messages, bounded: Bounded, body_bytes_max: int) -> None:
        self._messages = messages
        self._bounded = bounded
        self._body_bytes_max = body_bytes_max

    def routes(self) -> list[Route]:
        every, one = "/v2/queues/{queue}/messages", "/v2/queues/{queue}/messages/{message}"
        return [
            Route(
                "POST",
                every,
                served(self.post),
                repeatable=True,
                body=wire.PostMessages,
                body_bytes_max=self._body_bytes_max,
                parameters=IN_QUEUE,
                answers={201: wire.Posted},
                summary="Post messages; the queue comes to be if it is not there",
            ),
            Route(
                "GET",
                every,
                served(self.page),
                parameters=self._bounded.message_page(),
                answers={200: wire.MessagePage},
                summary="List messages",
            ),
            Route(
                "DELETE",
                every,
                served(self.delete_many),
                parameters=self._bounded.deletion(),
                answers={200: wire.Popped, 204: None},
                summary="Delete messages by their ids, or pop the first ones",
            ),
            Route(
                "GET",
                one,
                served(self.get),
                parameters=(*IN_QUEUE, MESSAGE, DETAILS),
                answers={200: wire.ShownMessage},
                summary="Show a message",
            ),
            Route(
                "DELETE",
                one,
                served(self.delete),
                parameters=(*IN_QUEUE, MESSAGE, CLAIM_NAMED),
                answers={204: None},
                summary="Delete a message; what a live claim holds needs that claim",
            ),
        ]

    async def post(self, call: Call[wire.PostMessages], client: ClientId) -> Answer:
        name = call.path["queue"]
        new = [_new(message) for message in call.body.messages]
        announced = call.headers.get("content-length", "0")
        # A chunked request announces no length; then the bodies count.
        size_bytes = max(int(announced), sum(len(message.body) for message in new))
        posted = await self._messages.post(call.context, name, client, new, size_bytes, call.repeat)
        base = f"/v2/queues/{name}/messages"
        texts = [str(message_id) for message_id in posted.ids]
        # A header of more ids than this is longer than many clients and proxies take.
        location = f"{base}?ids={','.join(texts)}" if len(texts) <= IDS_IN_LOCATION else base
        resources = [f"{base}/{text}" for text in texts]
        duplicates = list(posted.duplicates) if posted.duplicates else UNSET
        return Answer(201, wire.Posted(resources, duplicates), {"location": location})

    async def page(self, call: Call[None], client: ClientId) -> Answer:
        name, given = call.path["queue"], call.query
        ids, details = query.parts(given, "ids"), query.flag(given, "details")
        if ids:
            messages = await self._messages.get_many(call.context, name, ids)
            return Answer(200, wire.MessagePage(shown_messages(name, messages, details=details)))
        wanted = MessageFilter(
            include_claimed=query.flag(given, "include_claimed"),
            include_delayed=query.flag(given, "include_delayed"),
            not_from=None if query.flag(given, "echo") else client,
        )
        limit = query.number(given, "limit")
        found = await self._messages.page(
            call.context,
            name,
            wanted,
            _marker(given),
            limit,
            wait_s=query.number(given, "wait"),
            gone=call.hung_up,
        )
        links = []
        if found:
            kept = {key: given[key] for key in PAGE_PARAMETERS if given.get(key)}
            path = f"/v2/queues/{name}/messages"
            links.append(Link("next", next_link(path, kept, marker=str(found[-1].id))))
        return Answer(200, wire.MessagePage(shown_messages(name, found, details=details), links))

    async def get(self, call: Call[None], client: ClientId) -> Answer:
        name = call.path["queue"]
        message = await self._messages.get(call.context, name, call.path["message"])
        details = query.flag(call.query, "details")
        return Answer(200, shown_messages(name, [message], details=details)[0])

    async def delete(self, call: Call[None], client: ClientId) -> Answer:
        claims = _claims(call.query, "claim_id")
        await self._messages.delete(call.context, call.path["queue"], call.path["message"], claims)
        return Answer(204)

    async def delete_many(self, call: Call[None], client: ClientId) -> Answer:
        name, given = call.path["queue"], call.query
        ids, pop = query.parts(given, "ids"), query.number(given, "pop")
        if (pop is None) == (not ids):
            raise BadRequest("Give either ids, the messages to delete, or pop, their number.")
        if pop is None:
            claims = _claims(given, "claim_ids")
            await self._messages.delete_many(call.context, name, ids, claims)
            return Answer(204)
        popped = await self._messages.pop(call.context, name, pop)
        return Answer(200, wire.Popped([_popped(message) for message in popped]))


def shown_messages(
    name: str, messages: Sequence[Message], *, details: bool = False
) -> list[wire.ShownMessage]:
    """Messages as they go out; one under a live claim has it in its address."""
    shown = []
    for message in messages:
        text = str(message.id)
        href = f"/v2/queues/{name}/messages/{text}"
        if message.claim_id is not None:
            href = f"{href}?claim_id={claim_text(message.claim_id)}"
        one = wire.ShownMessage(text, href, message.ttl_s, message.age_s, Raw(message.body))
        if message.checksum is not None:
            one.checksum = message.checksum
        if details:
            _detail(one, message)
        shown.append(one)
    return shown


def _detail(shown: wire.ShownMessage, message: Message) -> None:
    shown.created_at = wire.moment(message.created_ms)
    shown.expires_at = wire.moment(message.expires_ms)
    hidden_ms = message.available_ms
    shown.available_at = None if hidden_ms is None else wire.moment(hidden_ms)
    shown.claim_count = message.deliveries
    if message.key is not None:
        shown.key = message.key
    if message.claim_id is not None and hidden_ms is not None:
        shown.claim = wire.Hold(
            claim_text(message.claim_id), wire.moment(hidden_ms), message.deliveries
        )
    if message.deaths:
        last, *before = message.deaths
        trail = [wire.Move(*_move(death)) for death in before]
        shown.dead_letter = wire.DeadLetter(*_move(last), trail)


def _move(death: Death) -> tuple[str | None, str, Reason, str, int | None, str]:
    at = wire.moment(death.at_ms)
    return (death.queue or None, death.id, death.reason, death.text, death.claim_count, at)


def _new(message: wire.NewMessage) -> NewMessage:
    body = bytes(message.body)
    try:
        body.decode()
    except UnicodeDecodeError:
        raise InvalidBody("The body of a message is not UTF-8.") from None
    return NewMessage(
        body,
        None if message.ttl is UNSET else message.ttl,
        None if message.delay is UNSET else message.delay,
        message.key,
    )


def _popped(message: Message) -> wire.PoppedMessage:
    return wire.PoppedMessage(
        str(message.id),
        message.age_s,
        message.ttl_s,
        None,
        message.deliveries,
        Raw(message.body),
        message.checksum or UNSET,
    )


def _marker(given: query.Query) -> MessageId | None:
    text = given.get("marker", "")
    marker = MessageId.parse(text)
    if text and marker is None:
        raise BadRequest("The marker is no message's id; take it from the link onward.")
    return marker


def _claims(given: query.Query, name: str) -> list[ClaimId] | None:
    """The claims that are named; those that can be no id are left out of the list."""
    texts = query.parts(given, name)
    if not texts:
        return None
    parsed = [claim_from(text) for text in texts]
    return [claim_id for claim_id in parsed if claim_id is not None]
