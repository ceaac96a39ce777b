# SPDX-License-Identifier: Apache-2.0
"""What happens to a replica seldom: late, doubled and stale messages, and the bounds of what it
keeps.
"""

import pytest

from transom.errors import InvalidEnvelope
from transom.messaging.proto.feed import (
    AskSince,
    AskSnapshot,
    Caught,
    Change,
    ChangeSet,
    Chunk,
    Effect,
    Event,
    Failed,
    Gap,
    Head,
    Heard,
    Limits,
    Live,
    Paged,
    Part,
    Replica,
    Stale,
    Subscribed,
    Tick,
    row_hash,
)
from transom.messaging.proto.feed.asking import Asking
from transom.messaging.proto.feed.buffer import Buffer
from transom.messaging.proto.feed.ledger import Ledger, hashed
from transom.messaging.proto.feed.staging import Staging
from transom.messaging.proto.feed.wire import (
    changes_topic,
    decode_beat,
    decode_changes,
    decode_chunk,
    decode_cursor,
    decode_since,
    encode_beat,
    encode_changes,
    encode_chunk,
    encode_since,
    feed_topic,
)

LIMITS = Limits(heartbeat_s=1.0, grace_s=0.2, ask_timeout_s=5.0, retry_least_s=0.2)
ONE = Change("t", ("a",), {"v": 1})
TWO = Change("t", ("b",), {"v": 2})


def digest(*changes: Change) -> int:
    return sum(row_hash(change.table, change.key, change.row or {}) for change in changes)


class Machine:
    """A replica and a clock that the test moves."""

    def __init__(self, *tables: str) -> None:
        self.replica = Replica(tables, LIMITS)
        self.now_s = 10.0

    def tell(self, event: Event) -> list[Effect]:
        return self.replica.handle(event, self.now_s, 0.5)

    def wait(self, seconds: float) -> list[Effect]:
        self.now_s += seconds
        return self.tell(Tick())

    def ask(self, effects: list[Effect]) -> AskSince | AskSnapshot:
        (asked,) = [one for one in effects if isinstance(one, AskSince | AskSnapshot)]
        return asked

    def loaded(self, *rows: Change, epoch: int = 1, n: int = 0) -> "Machine":
        asked = self.ask(self.tell(Subscribed()))
        head = Head(epoch, n, digest(*rows))
        self.tell(Paged(asked.request, Chunk(epoch, n, rows, None), head))
        assert self.live
        return self

    @property
    def live(self) -> bool:
        return isinstance(self.replica.state(self.now_s), Live)


def test_a_step_that_comes_in_parts_is_taken_when_the_last_is_there() -> None:
    machine = Machine().loaded()
    machine.tell(Part(1, 1, 1, 2, (TWO,)))
    assert machine.replica.position() == (1, 0)
    machine.tell(Part(1, 1, 0, 2, (ONE,)))
    assert machine.replica.position() == (1, 1)


def test_parts_of_an_older_epoch_or_of_a_step_taken_already_change_nothing() -> None:
    machine = Machine().loaded(epoch=2, n=3)
    for part in (Part(1, 9, 0, 2, (ONE,)), Part(2, 3, 0, 2, (ONE,)), Part(2, 3, 1, 2, (TWO,))):
        assert machine.tell(part) == []
    assert machine.replica.position() == (2, 3)


def test_a_head_of_an_older_epoch_and_an_older_head_are_not_believed() -> None:
    machine = Machine().loaded(epoch=2)
    machine.tell(Heard(Head(1, 50, 7)))
    assert machine.live
    machine.tell(Heard(Head(2, 4, 12345)))
    machine.tell(Heard(Head(2, 3, 0)))  # late: the newer one is compared once we stand there
    for n in range(1, 5):
        machine.tell(ChangeSet(2, n, (Change("t", ("a",), {"v": n}),)))
    assert isinstance(machine.replica.state(machine.now_s), Stale)


def test_an_answer_to_a_request_that_is_not_out_is_not_heeded() -> None:
    machine = Machine()
    asked = machine.ask(machine.tell(Subscribed()))
    assert machine.tell(Failed(asked.request + 1)) == []
    assert machine.replica.wake_s(machine.now_s) == machine.now_s + LIMITS.ask_timeout_s
    machine.tell(Failed(asked.request))
    wake_s = machine.replica.wake_s(machine.now_s)
    assert wake_s is not None
    assert wake_s < machine.now_s + LIMITS.ask_timeout_s


def test_a_restored_link_asks_soon_though_many_requests_failed() -> None:
    machine = Machine()
    effects = machine.tell(Subscribed())
    for _ in range(6):
        machine.tell(Failed(machine.ask(effects).request))
        while not (effects := machine.wait(0.1)):
            pass
    machine.tell(Failed(machine.ask(effects).request))
    backed_off_s = machine.replica.wake_s(machine.now_s)
    machine.tell(Gap())
    now_due_s = machine.replica.wake_s(machine.now_s)
    assert backed_off_s is not None
    assert now_due_s is not None
    assert now_due_s < machine.now_s + 1.0 < backed_off_s


def test_an_answer_of_an_epoch_that_is_over_counts_as_none() -> None:
    machine = Machine().loaded(epoch=1)
    machine.tell(Gap())
    asked = machine.ask(machine.wait(1.0))
    assert isinstance(asked, AskSince)
    machine.tell(ChangeSet(2, 1, (ONE,)))
    assert machine.tell(Caught(asked.request, (), Head(1, 0, 0))) == []
    again = machine.ask(machine.wait(1.0))
    assert isinstance(again, AskSnapshot)
    stale = Chunk(1, 0, (), None)
    assert machine.tell(Paged(again.request, stale, Head(1, 0, 0))) == []
    third = machine.ask(machine.wait(1.0))
    torn = Paged(third.request, Chunk(2, 1, (ONE,), None), Head(3, 1, digest(ONE)))
    machine.tell(torn)  # the epoch ended between the page and the head
    assert machine.replica.position() == (1, 0)


def test_an_answer_from_an_older_epoch_than_ours_is_refused() -> None:
    """A publisher that has lost its lease and does not know it yet may still answer."""
    machine = Machine().loaded(epoch=2)
    machine.tell(Gap())
    asked = machine.ask(machine.wait(1.0))
    machine.tell(Caught(asked.request, (ChangeSet(1, 1, (ONE,)),), Head(1, 1, digest(ONE))))
    assert machine.replica.position() == (2, 0)
    again = machine.ask(machine.wait(1.0))
    assert again == AskSince(asked.request + 1, 2, 0, LIMITS.since_sets)


def test_answers_that_never_lead_on_end_in_a_snapshot() -> None:
    machine = Machine().loaded()
    effects = machine.tell(Heard(Head(1, 5, 99)))
    kinds = []
    for _ in range(4):
        while not any(isinstance(one, AskSince | AskSnapshot) for one in effects):
            effects = machine.wait(0.5)
        asked = machine.ask(effects)
        kinds.append(type(asked))
        if isinstance(asked, AskSince):
            effects = machine.tell(Caught(asked.request, (), Head(1, 5, 99)))
    assert kinds[:3] == [AskSince, AskSince, AskSince]
    assert kinds[3] is AskSnapshot


def test_what_was_missing_may_come_by_itself_before_the_answer() -> None:
    machine = Machine().loaded()
    machine.tell(Heard(Head(1, 1, digest(ONE))))
    asked = machine.ask(machine.wait(1.0))
    machine.tell(ChangeSet(1, 1, (ONE,)))
    assert machine.tell(Caught(asked.request, None, Head(1, 1, digest(ONE)))) == []
    assert machine.replica.position() == (1, 1)


def test_a_buffer_takes_each_step_and_each_part_once() -> None:
    buffer = Buffer(100)
    buffer.put(1, (ONE,))
    buffer.put(1, (TWO,))
    assert buffer.put_part(Part(1, 1, 0, 2, (TWO,))) is None
    assert buffer.pop(1) == (ONE,)
    assert buffer.pop(1) is None
    assert buffer.put_part(Part(1, 2, 0, 3, (ONE,))) is None
    assert buffer.put_part(Part(1, 2, 0, 3, (TWO,))) is None
    assert buffer.put_part(Part(1, 2, 2, 3, (TWO,))) is None
    assert buffer.put_part(Part(1, 2, 1, 3, ())) == (ONE, TWO)


def test_a_buffer_forgets_what_is_passed_and_everything_over_its_bound() -> None:
    buffer = Buffer(6)
    buffer.put(1, (ONE,))
    buffer.put(3, (ONE,))
    buffer.put_part(Part(1, 2, 0, 2, (ONE,)))
    buffer.drop_through(2)
    assert buffer.put_part(Part(1, 2, 1, 2, (TWO,))) is None  # its other part is gone
    assert buffer.pop(3) == (ONE,)
    buffer.put(4, (ONE, ONE, ONE))
    buffer.put(5, (TWO,))
    assert buffer.pop(4) is None
    assert buffer.pop(5) == (TWO,)


def test_a_ledger_knows_the_digests_of_the_last_steps_only() -> None:
    ledger = Ledger()
    for n in range(300):
        ledger.step(1, n, [hashed(Change("t", ("a",), {"v": n}))], float(n))
    assert ledger.digest_at(299) == ledger.digest
    assert ledger.digest_at(10) is None
    assert ledger.passed_s(298) == 299.0
    assert ledger.passed_s(299) == float("inf")


def test_a_page_that_does_not_lead_on_ends_the_snapshot() -> None:
    first = Chunk(1, 3, (ONE,), ("t", ("a",)))
    staging = Staging(Ledger(), first)
    assert staging.add(first, first.rows)
    assert not staging.add(Chunk(2, 3, (TWO,), None), (TWO,))
    assert not staging.add(first, first.rows)
    assert staging.add(Chunk(1, 3, (TWO,), None), (TWO,))
    assert not staging.add(Chunk(1, 3, (), None), ())
    assert [change for change, _ in staging.finish()] == [ONE, TWO]


def test_a_need_that_went_away_is_not_asked_for_later() -> None:
    asking = Asking(LIMITS)
    assert not asking.ready(True, 0.0, 0.5)
    due_s = asking.wake_s()
    assert due_s is not None
    assert not asking.ready(False, due_s, 0.5)
    assert asking.wake_s() is None
    asking.revive()
    assert asking.failures == 0


def test_topics_are_the_feeds_own() -> None:
    assert feed_topic("queue") == "feed.queue"
    assert changes_topic("queue") == "feed.queue.changes"


HEADS = [Head(1, 2, 3), Head(1, 2, 2**128 - 1, {"t": 5})]


@pytest.mark.parametrize("head", HEADS)
def test_each_message_comes_in_as_it_went_out(head: Head) -> None:
    made = ChangeSet(1, 2, (ONE, Change("t", ("b",), None)))
    part = Part(1, 2, 1, 3, (TWO,))
    chunk = Chunk(1, 2, (ONE,), ("t", ("a",)))
    assert decode_changes(encode_changes(made) | {"changes": [["t", ["a"], {"v": 1}]]}) == (
        ChangeSet(1, 2, (ONE,))
    )
    assert decode_changes(encode_changes(part)) == part
    assert decode_since(encode_since([made], head)) == ((made,), head)
    assert decode_since(encode_since(None, head)) == (None, head)
    assert decode_chunk(encode_chunk(chunk, head)) == (chunk, head)
    assert decode_cursor(chunk.after) == chunk.after
    assert decode_beat(encode_beat({"queue": head})) == {"queue": head}


def test_a_part_that_cannot_be_one_is_refused() -> None:
    coded = encode_changes(Part(1, 2, 1, 3, (TWO,)))
    with pytest.raises(InvalidEnvelope, match="impossible"):
        decode_changes(coded | {"part": 3})


def test_a_snapshot_whose_pages_moved_on_waits_for_the_steps_between() -> None:
    machine = Machine()
    asked = machine.ask(machine.tell(Subscribed()))
    head = Head(1, 3, digest(ONE, TWO))
    effects = machine.tell(Paged(asked.request, Chunk(1, 1, (ONE,), ("t", ("a",))), head))
    machine.tell(Paged(machine.ask(effects).request, Chunk(1, 3, (TWO,), None), head))
    assert machine.replica.position() == (-1, -1)
    machine.tell(ChangeSet(1, 2, (ONE,)))
    assert machine.replica.position() == (-1, -1)
    machine.tell(ChangeSet(1, 3, (TWO,)))
    assert machine.replica.position() == (1, 3)
    assert machine.live
