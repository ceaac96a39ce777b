# SPDX-License-Identifier: Apache-2.0
"""Subscriptions: made, listed, changed, confirmed, ended.

Invariants:
1. `queue.subscribers` is the number of the queue's active subscriptions, those included whose life
   has ended and which the sweep has not yet removed.
2. One that becomes active is told of what is posted from then on: it stands at the queue's end.
3. A subscriber is subscribed to a queue at most once.
"""

from dataclasses import dataclass

from transom.errors import Conflict
from transom.node.feed import point
from transom.queue.contract import SOURCE, SUBSCRIPTIONS
from transom.queue.model import (
    DeliveryState,
    MessageId,
    Place,
    QuotaReached,
    SubscriberKnown,
    Subscription,
    SubscriptionNotFound,
)
from transom.runtime.db.transaction import Row, Transaction
from transom.runtime.sealing import Sealer

COLUMNS = (
    "number, token, queue_name, subscriber, options, ttl_s, confirmed, created_ms, expires_ms, "
    "active, delivered, undeliverable, attempts, next_ms, last_error"
)
ASKED_TO_SUBSCRIBE, ASKED_AFTER_LEAVING = "subscribe", "unsubscribe"
SECRET_PURPOSE = "queue.subscription.secret"  # noqa: S105  what is sealed, not the secret
SECRETS_AT_ONCE = 500

NEW_NUMBER = "update counter set value = value + 1 where name = 'subscription' returning value"

QUEUE_END = "select next_sequence from queue where project_id = ? and name = ?"

INSERT = """
insert into subscription (project_id, queue_name, number, token, subscriber, options, secret, ttl_s,
  created_ms, expires_ms, confirmed, active, position, attempts, next_ms, last_error, delivered,
  undeliverable, asked, asked_ms, asked_attempts)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, 0, 0, '', 0, 0, ?, ?, 0)
"""

OF_SUBSCRIBER = f"""
select {COLUMNS} from subscription where project_id = ? and queue_name = ? and subscriber = ?
"""

COUNT = "select count(*) from subscription where project_id = ? and queue_name = ?"

COUNT_OF_PROJECT = "select count(*) from subscription where project_id = ?"

ONE = f"""
select {COLUMNS} from subscription
where project_id = ? and queue_name = ? and number = ? and token = ? and expires_ms > ?
"""

PAGE = f"""
select {COLUMNS} from subscription
where project_id = ? and queue_name = ? and number > ? and expires_ms > ?
order by number limit ?
"""

CHANGE = """
update subscription
set subscriber = ?, options = ?, secret = case when ? = 1 then secret else ? end, ttl_s = ?,
  expires_ms = ?, attempts = 0, next_ms = 0
where project_id = ? and queue_name = ? and number = ? and options = ? and subscriber = ?
"""

SET_CONFIRMED = """
update subscription
set confirmed = ?, active = ?, position = case when active < ? then ? else position end,
  attempts = 0, next_ms = 0, last_error = ''
where project_id = ? and queue_name = ? and number = ?
"""

ASK = """
update subscription set asked = ?, asked_ms = ?, asked_attempts = 0
where project_id = ? and queue_name = ? and number = ?
"""

END = """
delete from subscription
where project_id = ? and queue_name = ? and number = ? and token = ? returning active
"""

END_ALL = """
delete from subscription where project_id = ? and queue_name = ? returning number, token
"""

EXPIRED = """
select project_id, queue_name, number, token from subscription
where expires_ms <= ? order by expires_ms limit ?
"""

MORE_ACTIVE = """
update queue set subscribers = subscribers + ? where project_id = ? and name = ?
"""

NONE_ACTIVE = "update queue set subscribers = 0 where project_id = ? and name = ?"

SIGNED = """
select project_id, queue_name, number, secret from subscription
where (project_id, queue_name, number) > (?, ?, ?) and secret is not null
order by project_id, queue_name, number limit ?
"""

SEAL_AGAIN = """
update subscription set secret = ?
where project_id = ? and queue_name = ? and number = ? and secret = ?
"""

ROW = f"""
select {COLUMNS} from subscription
where project_id = ? and queue_name = ? and number = ? and token = ?
"""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a subscription is made or changed to. `secret`: sealed; None: its requests are not
    signed. `needs_confirming`: it is told of nothing until it is confirmed. `keeps_secret`: the one
    that it has stays, whatever `secret` says."""

    subscriber: str
    options: str
    secret: bytes | None
    ttl_s: int
    needs_confirming: bool
    keeps_secret: bool = False


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many subscriptions there may be; 0 is without limit."""

    of_queue: int
    of_project: int


async def create(
    tx: Transaction, now_ms: int, place: Place, token: int, terms: Terms, bounds: Bounds
) -> tuple[MessageId, bool]:
    """The id, and whether it is new. The queue is there.

    One that is there and was not confirmed stays as it is, and is asked again.
    Raises: SubscriberKnown, QuotaReached.
    """
    key = (place.project_id, place.name)
    row = await tx.fetch_one(OF_SUBSCRIBER, (*key, terms.subscriber))
    if row is not None:
        known = subscription_of(row, now_ms)
        if known.expires_ms > now_ms:
            if known.confirmed:
                raise SubscriberKnown(
                    "This subscriber is subscribed to the queue already; change it by its id."
                )
            if terms.needs_confirming:
                await _ask(tx, now_ms, place, known.id, ASKED_TO_SUBSCRIBE)
            return known.id, False
        await end(tx, place, known.id)
    await _check_bounds(tx, place, bounds)
    made = MessageId(await _number(tx), token)
    active = 0 if terms.needs_confirming else 1
    asked = (ASKED_TO_SUBSCRIBE, now_ms) if terms.needs_confirming else (None, None)
    life = (terms.ttl_s, now_ms, now_ms + terms.ttl_s * 1000)
    what = (terms.subscriber, terms.options, terms.secret)
    position = await _queue_end(tx, place)
    await tx.execute(INSERT, (*key, made.sequence, token, *what, *life, active, position, *asked))
    await tx.execute(MORE_ACTIVE, (active, *key))
    await changed(tx, place, made)
    return made, True


async def get(tx: Transaction, now_ms: int, place: Place, wanted: MessageId) -> Subscription:
    """Raises: SubscriptionNotFound."""
    key = (place.project_id, place.name, wanted.sequence, wanted.token)
    row = await tx.fetch_one(ONE, (*key, now_ms))
    if row is None:
        raise SubscriptionNotFound("There is no such subscription, or its life has ended.")
    return subscription_of(row, now_ms)


async def page(
    tx: Transaction, now_ms: int, place: Place, after: int, limit: int
) -> list[Subscription]:
    """In the order in which they were made."""
    rows = await tx.fetch(PAGE, (place.project_id, place.name, after, now_ms, limit))
    return [subscription_of(row, now_ms) for row in rows]


async def change(
    tx: Transaction, now_ms: int, place: Place, before: Subscription, terms: Terms
) -> None:
    """Its life begins anew. One that has another subscriber is confirmed anew, if that is needed.

    Raises: SubscriptionNotFound, SubscriberKnown, Conflict if somebody else changed it meanwhile.
    """
    await get(tx, now_ms, place, before.id)
    key = (place.project_id, place.name)
    moved = terms.subscriber != before.subscriber
    if moved and await tx.fetch_one(OF_SUBSCRIBER, (*key, terms.subscriber)) is not None:
        raise SubscriberKnown("Another subscription of the queue has this subscriber.")
    secret = (int(terms.keeps_secret), terms.secret)
    what = (terms.subscriber, terms.options, *secret, terms.ttl_s)
    expires_ms = now_ms + terms.ttl_s * 1000
    seen = (before.options, before.subscriber)
    if not await tx.execute(CHANGE, (*what, expires_ms, *key, before.id.sequence, *seen)):
        raise Conflict("The subscription was changed by somebody else at the same time.")
    if moved and terms.needs_confirming:
        await _set_active(tx, place, before, confirmed=False, active=False)
        await _ask(tx, now_ms, place, before.id, ASKED_TO_SUBSCRIBE)
    await changed(tx, place, before.id)


async def confirm(
    tx: Transaction, now_ms: int, place: Place, wanted: MessageId, *, confirmed: bool, needed: bool
) -> None:
    """`needed`: only who is confirmed is told of anything; then who leaves is told how to return.

    Raises: SubscriptionNotFound.
    """
    found = await get(tx, now_ms, place, wanted)
    await _set_active(tx, place, found, confirmed=confirmed, active=confirmed or not needed)
    if needed:
        if confirmed:
            await _ask(tx, now_ms, place, wanted, None)
        else:
            await _ask(tx, now_ms, place, wanted, ASKED_AFTER_LEAVING)
    await changed(tx, place, wanted)


async def end(tx: Transaction, place: Place, wanted: MessageId) -> bool:
    """False if there is none."""
    key = (place.project_id, place.name)
    row = await tx.fetch_one(END, (*key, wanted.sequence, wanted.token))
    if row is None:
        return False
    await tx.execute(MORE_ACTIVE, (-row[0], *key))
    await changed(tx, place, wanted)
    return True


async def end_all(tx: Transaction, place: Place) -> bool:
    """Ends all of the queue's. False if there are none."""
    key = (place.project_id, place.name)
    rows = await tx.fetch(END_ALL, key)
    for number, token in rows:
        await changed(tx, place, MessageId(number, token))
    if rows:
        await tx.execute(NONE_ACTIVE, key)
    return bool(rows)


async def end_expired(tx: Transaction, now_ms: int, batch: int) -> bool:
    """Removes those whose life has ended; True if there may be more."""
    rows = await tx.fetch(EXPIRED, (now_ms, batch))
    for project_id, queue_name, number, token in rows:
        await end(tx, Place(project_id, queue_name), MessageId(number, token))
    return len(rows) == batch


async def row_of(
    tx: Transaction, now_ms: int, place: Place, wanted: MessageId
) -> Subscription | None:
    """Also one whose life has ended."""
    key = (place.project_id, place.name, wanted.sequence, wanted.token)
    row = await tx.fetch_one(ROW, key)
    return None if row is None else subscription_of(row, now_ms)


def subscription_of(row: Row, now_ms: int) -> Subscription:
    """The subscription in a row of `COLUMNS`."""
    number, token, queue_name, subscriber, options, ttl_s, confirmed, created_ms, expires_ms = row[
        :9
    ]
    active, delivered, undeliverable, tries, next_ms, last_error = row[9:15]
    return Subscription(
        MessageId(number, token),
        queue_name,
        subscriber,
        options,
        ttl_s,
        max(0, now_ms - (expires_ms - ttl_s * 1000)) // 1000,
        bool(confirmed),
        created_ms,
        expires_ms,
        DeliveryState(bool(active), delivered, undeliverable, tries, next_ms, last_error),
    )


async def _set_active(
    tx: Transaction, place: Place, found: Subscription, *, confirmed: bool, active: bool
) -> None:
    key = (place.project_id, place.name)
    at = await _queue_end(tx, place)
    flags = (int(confirmed), int(active), int(active), at)
    await tx.execute(SET_CONFIRMED, (*flags, *key, found.id.sequence))
    await tx.execute(MORE_ACTIVE, (int(active) - int(found.state.active), *key))


async def _ask(
    tx: Transaction, now_ms: int, place: Place, wanted: MessageId, what: str | None
) -> None:
    at_ms = None if what is None else now_ms
    await tx.execute(ASK, (what, at_ms, place.project_id, place.name, wanted.sequence))


async def _check_bounds(tx: Transaction, place: Place, bounds: Bounds) -> None:
    for sql, parameters, most, whose in (
        (COUNT, (place.project_id, place.name), bounds.of_queue, "queue"),
        (COUNT_OF_PROJECT, (place.project_id,), bounds.of_project, "project"),
    ):
        if not most:
            continue
        row = await tx.fetch_one(sql, parameters)
        if row is not None and row[0] >= most:
            raise QuotaReached(
                f"The {whose} has {row[0]} subscriptions, and may have {most}; delete some, or ask "
                "the operator for more."
            )


async def _number(tx: Transaction) -> int:
    row = await tx.fetch_one(NEW_NUMBER)
    assert row is not None  # the migration made it
    return int(row[0])


async def _queue_end(tx: Transaction, place: Place) -> int:
    """The number of the queue's last message so far."""
    row = await tx.fetch_one(QUEUE_END, (place.project_id, place.name))
    return 0 if row is None else row[0] - 1


async def changed(tx: Transaction, place: Place, wanted: MessageId) -> None:
    """Says so to the live table's feed."""
    await point(tx, SOURCE, SUBSCRIPTIONS.name, (place.project_id, place.name, str(wanted)))


async def sealed_again(tx: Transaction, sealer: Sealer) -> int:
    """Seals secrets under the first master key; how many were not. Raises: ConfigError."""
    count = 0
    for project_id, queue_name, number, sealed in await _secrets(tx):
        if not sealer.is_current(sealed):
            fresh = sealer.seal(sealer.open(sealed, SECRET_PURPOSE), SECRET_PURPOSE)
            count += await tx.execute(SEAL_AGAIN, (fresh, project_id, queue_name, number, sealed))
    return count


async def any_left(tx: Transaction, sealer: Sealer) -> bool:
    """Whether a secret is sealed under another than the first master key."""
    return any(not sealer.is_current(sealed) for *_, sealed in await _secrets(tx))


async def _secrets(tx: Transaction) -> list[Row]:
    found: list[Row] = []
    after: tuple[str, str, int] = ("", "", 0)
    while rows := await tx.fetch(SIGNED, (*after, SECRETS_AT_ONCE)):
        found += rows
        after = rows[-1][:3]
    return found
