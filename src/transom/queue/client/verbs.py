# SPDX-License-Identifier: Apache-2.0
"""Every verb of the queue as a value: what to send, and how to read what comes.

Invariant: nothing here waits or sends. Both faces of the client, and each of their verbs, are made
of these.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec

from transom.queue.client import shapes
from transom.queue.client.values import value_of

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

PATCH_TYPE = "application/openstack-messaging-v2.0-json-patch"
REDRIVEN = 100


@dataclass(frozen=True, slots=True)
class Reply:
    """What came. `headers`: names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Request(Generic[T_co]):
    """`path`: below the endpoint, with its query if that is from a link. `keyed`: it takes an
    Idempotency-Key. `again`: it may be sent again when nobody knows whether it was carried out.
    `wait_s`: how much longer than others its answer may take.
    """

    method: str
    path: str
    read: Callable[[Reply], T_co]
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    content_type: str = "application/json"
    keyed: bool = False
    again: bool = True
    wait_s: float = 0.0


def read_as(request: Request[Any], read: Callable[[Reply], T]) -> Request[T]:
    """The same request, its answer read otherwise."""
    return Request(
        request.method, request.path, read, request.query, request.body, request.content_type,
        request.keyed, request.again, request.wait_s,
    )  # fmt: skip


def decoded(kind: type[T]) -> Callable[[Reply], T]:
    """Reads the answer's JSON as this."""
    return lambda reply: value_of(reply.body, kind)


def _nothing(reply: Reply) -> None:
    return None


def _one(name: str, *more: str) -> str:
    return "/v2/queues/" + "/".join(quote(part, safe="") for part in (name, *more))


def _query(**given: str | int | bool | None) -> dict[str, str]:
    """What was given, as it is written; absent and false parameters are left out."""
    return {
        name: "true" if value is True else str(value)
        for name, value in given.items()
        if value is not None and value is not False and value != ""
    }


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


# -- queues --


def queues(detailed: bool = False, name: str = "") -> Request[shapes.Page]:
    """The first page of the project's queues; `name`: only those that have it in their names."""
    query = _query(detailed=detailed, name=name)
    return Request("GET", "/v2/queues", decoded(shapes.Page), query)


def page(href: str) -> Request[shapes.Page]:
    """The page that a link leads to."""
    return Request("GET", href, decoded(shapes.Page))


def create(name: str, metadata: Mapping[str, Any] | None = None) -> Request[bool]:
    """Makes the queue. False if it was there; its metadata stay as they were then."""
    body = dict(metadata or {})
    return Request("PUT", _one(name), lambda reply: reply.status == 201, body=body, keyed=True)


def exists(name: str) -> Request[None]:
    """Raises: NotFound if there is no such queue."""
    return Request("HEAD", _one(name), _nothing)


def metadata(name: str) -> Request[dict[str, Any]]:
    """The queue's metadata, with the defaults of reserved keys."""
    return Request("GET", _one(name), decoded(dict[str, Any]))


def update(
    name: str, changes: Mapping[str, Any], remove: Iterable[str] = ()
) -> Request[dict[str, Any]]:
    """Sets the keys of `changes`, removes those of `remove`, all or none; gives all metadata."""
    steps: list[dict[str, Any]] = [
        {"op": "add", "path": _of_key(key), "value": value} for key, value in changes.items()
    ]
    steps += [{"op": "remove", "path": _of_key(key)} for key in remove]
    again = not any(step["op"] == "remove" for step in steps)
    return Request(
        "PATCH",
        _one(name),
        decoded(dict[str, Any]),
        body=steps,
        content_type=PATCH_TYPE,
        again=again,
    )


def _of_key(key: str) -> str:
    return "/metadata/" + key.replace("~", "~0").replace("/", "~1")


def remove(name: str) -> Request[None]:
    """Deletes the queue and what it holds."""
    return Request("DELETE", _one(name), _nothing)


def purge(name: str, messages: bool = True, subscriptions: bool = False) -> Request[None]:
    """Removes what the queue holds; the queue stays."""
    types = [*["messages"] * messages, *["subscriptions"] * subscriptions]
    return Request("POST", _one(name, "purge"), _nothing, body={"resource_types": types})


def stats(name: str) -> Request[shapes.Stats]:
    """How many messages the queue holds."""

    def read(reply: Reply) -> shapes.Stats:
        return msgspec.json.decode(reply.body, type=dict[str, shapes.Stats])["messages"]

    return Request("GET", _one(name, "stats"), read)


def redrive(
    name: str,
    limit: int = REDRIVEN,
    ids: Sequence[str] | None = None,
    to: str | None = None,
) -> Request[shapes.Redriven]:
    """Moves dead letters back to the queues they came from, or all of them to the queue `to`."""
    body = _given(limit=limit, ids=None if ids is None else list(ids), to=to)
    return Request("POST", _one(name, "redrive"), decoded(shapes.Redriven), body=body, keyed=True)


# -- messages --


def post_many(name: str, messages: Sequence[shapes.New]) -> Request[shapes.Posted]:
    """Posts them in this order. When it returns they are on disk."""

    def read(reply: Reply) -> shapes.Posted:
        answer = msgspec.json.decode(reply.body)
        ids = [str(href).rpartition("/")[2] for href in answer["resources"]]
        return shapes.Posted(ids, list(answer.get("duplicates", ())))

    body = {"messages": list(messages)}
    return Request("POST", _one(name, "messages"), read, body=body, keyed=True)


def post(
    name: str, body: Any, key: str | None = None, delay: int | None = None, ttl: int | None = None
) -> Request[shapes.Posted]:
    """Posts one message. When it returns it is on disk. `body`: whatever JSON can say."""
    return post_many(name, [shapes.New(body, ttl, delay, key)])


def messages(
    name: str,
    marker: str = "",
    limit: int | None = None,
    echo: bool = True,
    include_claimed: bool = False,
    include_delayed: bool = False,
    wait: int = 0,
) -> Request[shapes.Page]:
    """A page of messages, after `marker`; `wait`: for so many seconds if there is none."""
    query = _query(
        marker=marker,
        limit=limit,
        echo=echo,
        include_claimed=include_claimed,
        include_delayed=include_delayed,
        wait=wait or None,
        details=True,
    )
    return Request("GET", _one(name, "messages"), decoded(shapes.Page), query, wait_s=wait)


def get(name: str, message_id: str) -> Request[shapes.Message]:
    """One message. Raises: NotFound."""
    return Request(
        "GET", _one(name, "messages", message_id), decoded(shapes.Message), _query(details=1)
    )


def delete(name: str, message_id: str, claim_id: str = "") -> Request[None]:
    """Deletes a message; what a live claim holds needs that claim.

    Raises: BadRequest if the claim has ended, Forbidden if another one holds the message.
    """
    query = _query(claim_id=claim_id)
    return Request("DELETE", _one(name, "messages", message_id), _nothing, query)


def delete_many(name: str, ids: Sequence[str], claim_id: str = "") -> Request[None]:
    """Deletes messages; with a claim all of them, if it holds them all, or none."""
    query = _query(ids=",".join(ids), claim_ids=claim_id)
    return Request("DELETE", _one(name, "messages"), _nothing, query)


def pop(name: str, number: int = 1) -> Request[list[shapes.Message]]:
    """Deletes the first free messages and gives them. It is not sent again by itself: what is lost
    with its answer is gone. Who must lose nothing claims."""
    return Request("DELETE", _one(name, "messages"), _popped, _query(pop=number), again=False)


def _popped(reply: Reply) -> list[shapes.Message]:
    return value_of(reply.body, shapes.Page).messages


# -- claims --


def claim(
    name: str, limit: int | None = None, ttl: int | None = None, grace: int | None = None,
    wait: int = 0,
) -> Request[shapes.Claimed | None]:  # fmt: skip
    """Takes the first free messages for `ttl` seconds; None if there are none, after `wait`."""
    query = _query(limit=limit, wait=wait or None, details=True)
    body = _given(ttl=ttl, grace=grace)
    return Request(
        "POST", _one(name, "claims"), _claimed, query, body=body, keyed=True, wait_s=wait
    )


def claim_many(
    names: Sequence[str], limit: int | None = None, ttl: int | None = None,
    grace: int | None = None, wait: int = 0,
) -> Request[shapes.Claimed | None]:  # fmt: skip
    """Takes messages of several queues under one claim, in the order of the names."""
    query = _query(limit=limit, wait=wait or None, details=True)
    body = {"queues": list(names), **_given(ttl=ttl, grace=grace)}
    return Request("POST", "/v2/claims", _claimed, query, body=body, keyed=True, wait_s=wait)


def _claimed(reply: Reply) -> shapes.Claimed | None:
    if reply.status == 204:
        return None
    found = value_of(reply.body, shapes.Claimed)
    if found.claim_id:
        return found
    # A server that knows no details (Zaqar) has it in the header alone.
    claim_id = reply.headers.get("location", "").rpartition("/")[2]
    return shapes.Claimed(found.messages, claim_id)


def touch(
    name: str, claim_id: str, ids: Sequence[str] | None = None, ttl: int | None = None,
    grace: int | None = None,
) -> Request[shapes.Touched]:  # fmt: skip
    """Holds messages of a claim, some or all, anew for `ttl` seconds. Raises: NotFound."""
    body = _given(ids=_listed(ids), ttl=ttl, grace=grace)
    path = _one(name, "claims", claim_id, "touch")
    return Request("POST", path, decoded(shapes.Touched), body=body, keyed=True)


def release(
    name: str, claim_id: str, ids: Sequence[str] | None = None, delay: int | None = None
) -> Request[shapes.Released]:
    """Frees messages of a claim, some or all, at once or after a delay. Raises: NotFound."""
    body = _given(ids=_listed(ids), delay=delay)
    path = _one(name, "claims", claim_id, "release")
    return Request("POST", path, decoded(shapes.Released), body=body, keyed=True)


def reject(
    name: str, claim_id: str, ids: Sequence[str] | None = None, reason: str = ""
) -> Request[shapes.Rejected]:
    """Moves messages of a claim, some or all, to the queue's dead letters. Raises: NotFound,
    Conflict if the queue has none."""
    body = _given(ids=_listed(ids), reason=reason)
    path = _one(name, "claims", claim_id, "reject")
    return Request("POST", path, decoded(shapes.Rejected), body=body, keyed=True)


def give_back(claim: Request[Any], claim_id: str) -> Request[None]:
    """Frees all that is held under a claim; `claim`: the request that made it."""
    return Request("DELETE", f"{claim.path}/{claim_id}", _nothing)


def _listed(ids: Sequence[str] | None) -> list[str] | None:
    return None if ids is None else list(ids)


# -- subscriptions --


def subscriptions(name: str) -> Request[shapes.Page]:
    """The first page of the queue's subscriptions."""
    return Request("GET", _one(name, "subscriptions"), decoded(shapes.Page), _query(details=True))


def subscribe(
    name: str, subscriber: str, ttl: int | None = None, options: Mapping[str, Any] | None = None
) -> Request[shapes.Subscribed]:
    """Sends each new message to `subscriber` (https:, mailto:, ...)."""
    body = _given(subscriber=subscriber, ttl=ttl, options=options)
    path = _one(name, "subscriptions")
    return Request("POST", path, decoded(shapes.Subscribed), body=body, keyed=True)


def resubscribe(
    name: str, subscription_id: str, ttl: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> Request[None]:  # fmt: skip
    """Begins the subscription's life anew, with other options if they are given."""
    body = _given(ttl=ttl, options=options)
    return Request("PATCH", _one(name, "subscriptions", subscription_id), _nothing, body=body)


def unsubscribe(name: str, subscription_id: str) -> Request[None]:
    """Ends a subscription."""
    return Request("DELETE", _one(name, "subscriptions", subscription_id), _nothing)
