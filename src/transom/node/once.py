# SPDX-License-Identifier: Apache-2.0
"""What is done once for an idempotency key, however often it is asked for.

A part's use case runs its verb through `once`, inside the transaction of the effect:

    answer, repeat.replayed = await database.write(
        lambda tx: once(tx, now_ms, Key.of(repeat, context), lambda: insert(tx, user)))
    user = decoded(answer, User)

Invariants:
1. The answer is kept in the effect's own transaction: there is never one without the other, and a
   verb that raises leaves neither.
2. A key is seen by one user of one project (or domain) alone.
3. Of requests with one key that run side by side, one has its effect. Where the database lets both
   run (PostgreSQL), the second one's `KEEP` fails or changes nothing, and it is undone whole.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from transom.errors import Conflict
from transom.runtime.auth.context import Context
from transom.runtime.db.transaction import Transaction
from transom.runtime.idempotency import Repeat

T = TypeVar("T")

KEPT = """
select request, answer from once
where owner = ? and user_id = ? and name = ? and expires_ms > ?
"""

KEEP = """
insert into once (owner, user_id, name, request, answer, expires_ms) values (?, ?, ?, ?, ?, ?)
on conflict (owner, user_id, name) do update set request = excluded.request,
  answer = excluded.answer, expires_ms = excluded.expires_ms
where once.expires_ms <= ?
"""

FORGET = """
delete from once where (owner, user_id, name) in (
  select owner, user_id, name from once where expires_ms <= ? order by expires_ms limit ?)
"""


class Key(msgspec.Struct, frozen=True, array_like=True):
    """Whose key it is, and of which request. See `runtime.idempotency.Repeat`."""

    owner: str
    user_id: str
    name: str
    request: bytes
    kept_ms: int

    @classmethod
    def of(cls, repeat: Repeat, context: Context, most_ms: int | None = None) -> "Key":
        """`most_ms`: the answer is worth keeping no longer."""
        kept_ms = repeat.kept_ms if most_ms is None else min(repeat.kept_ms, most_ms)
        return cls(_owner(context), context.user_id, repeat.key, repeat.request, kept_ms)


async def once(
    tx: Transaction,
    now_ms: int,
    key: Key,
    verb: Callable[[], Awaitable[Any]],
    *,
    kept: Callable[[Any], bool] = lambda answer: True,
) -> tuple[bytes, bool]:
    """What the verb gives, for `decoded`, and whether that is from before.

    `kept`: whether an answer is worth keeping; one of a verb that did nothing may not be.

    Raises: Conflict if the key came with another request, and what the verb raises.
    """
    whose = (key.owner, key.user_id, key.name)
    found = await tx.fetch_one(KEPT, (*whose, now_ms))
    if found is not None:
        if bytes(found[0]) != key.request:
            raise Conflict(
                "This Idempotency-Key was used for another request; use a new one for this."
            )
        return bytes(found[1]), True
    given = await verb()
    answer = msgspec.msgpack.encode(given)
    if not kept(given):
        return answer, False
    row = (*whose, key.request, answer, now_ms + key.kept_ms, now_ms)
    if not await tx.execute(KEEP, row):
        raise Conflict("A request with this Idempotency-Key is under way; ask again.")
    return answer, False


def decoded(answer: bytes, kind: type[T]) -> T:
    """The verb's value. `kind`: what it gives, as msgspec decodes it."""
    return msgspec.msgpack.decode(answer, type=kind)


async def forget(tx: Transaction, now_ms: int, batch: int) -> bool:
    """Removes up to `batch` answers whose time is over; True if there may be more."""
    return await tx.execute(FORGET, (now_ms, batch)) == batch


def _owner(context: Context) -> str:
    if context.project_id:
        return f"project:{context.project_id}"
    return f"domain:{context.domain_id}" if context.domain_id else "system"
