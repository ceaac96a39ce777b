# SPDX-License-Identifier: Apache-2.0
"""Time and counters: what is of now and new is taken once."""

from random import Random

import pytest

from transom.errors import Expired
from transom.messaging.security.freshness import Bounds, Seen, check_generation, check_time
from transom.messaging.security.message import Form, Metadata, Mode
from transom.messaging.security.reading import SOURCE_BYTES, Opened, Track
from transom.messaging.security.sessions import SHARED_KEY, Role, Session

HOUR_MS = 3_600_000
NOW_MS = 100 * HOUR_MS
SKEW_MS = 60_000
BOUNDS = Bounds(SKEW_MS, 24 * HOUR_MS, NOW_MS)
SESSION = Session(
    SHARED_KEY, "a.a", "b.b", bytes(32), group=False, ticket=b"t", issued_ms=NOW_MS,
    lifetime_ms=HOUR_MS,
)  # fmt: skip
STREAM = bytes(24)


def sent(
    sent_ms: int, *, deadline_ms: int = 0, kind: str = "server", role: Role = Role.REQUEST
) -> Opened:
    metadata = Metadata(
        SHARED_KEY, Mode.SIGN, Form.ENVELOPE, role, "a.a", "b.b", b"", b"", kind, "n", "", "", "",
        b"",
    )  # fmt: skip
    return Opened(b"", Track(b"", metadata, SESSION, STREAM), 1, sent_ms, deadline_ms)


def until(opened: Opened, now_ms: int, bounds: Bounds = BOUNDS) -> int:
    return check_time(opened, bounds, now_ms)


def test_a_call_is_taken_until_its_deadline_and_the_skew() -> None:
    call = sent(NOW_MS, deadline_ms=NOW_MS + 5000)
    assert until(call, NOW_MS) == NOW_MS + 5000 + SKEW_MS
    assert until(call, NOW_MS + 5000 + SKEW_MS - 1)
    with pytest.raises(Expired, match="deadline"):
        until(call, NOW_MS + 5000 + SKEW_MS)
    assert until(sent(NOW_MS), NOW_MS) == NOW_MS + HOUR_MS + SKEW_MS


def test_clocks_differ_by_the_skew_and_no_more() -> None:
    assert until(sent(NOW_MS + SKEW_MS), NOW_MS)
    with pytest.raises(Expired, match="future"):
        until(sent(NOW_MS + SKEW_MS + 1), NOW_MS)
    assert until(sent(NOW_MS - SKEW_MS), NOW_MS)
    with pytest.raises(Expired, match="life of its ticket"):
        until(sent(NOW_MS - SKEW_MS - 1), NOW_MS)


def test_what_was_sent_before_the_receiver_was_there_is_refused_unless_it_remembers() -> None:
    later = BOUNDS._replace(start_ms=NOW_MS + HOUR_MS // 2)
    with pytest.raises(Expired, match="before this receiver"):
        until(sent(NOW_MS + 1000), later.start_ms, later)
    assert until(sent(later.start_ms - SKEW_MS), later.start_ms, later)
    assert until(sent(NOW_MS + 1000), later.start_ms, later._replace(start_ms=0))
    assert until(sent(NOW_MS + 1000, kind="notification"), later.start_ms, later)


def test_a_ticket_that_has_ended_serves_for_replies_only() -> None:
    end_ms = NOW_MS + HOUR_MS + SKEW_MS
    with pytest.raises(Expired, match="life of its ticket"):
        until(sent(end_ms), end_ms)
    reply = sent(end_ms, deadline_ms=end_ms + 1000, role=Role.REPLY)
    assert until(reply, end_ms) == end_ms + 1000 + SKEW_MS
    assert until(sent(end_ms, role=Role.REPLY), end_ms) == end_ms + SKEW_MS


def test_a_notification_is_taken_until_the_retention_has_passed() -> None:
    event = sent(NOW_MS, kind="notification")
    end_ms = NOW_MS + HOUR_MS + 24 * HOUR_MS + SKEW_MS
    assert until(event, end_ms - 1) == end_ms
    with pytest.raises(Expired):
        until(event, end_ms)


def test_what_a_sender_writes_into_a_message_does_not_make_it_last() -> None:
    """A deadline is capped at its ticket's end, of a reply at a day."""
    never_ms = 2**64 - 1
    end_ms = NOW_MS + HOUR_MS + SKEW_MS
    assert until(sent(NOW_MS, deadline_ms=never_ms), NOW_MS) == end_ms
    with pytest.raises(Expired, match="deadline"):
        until(sent(NOW_MS, deadline_ms=never_ms), end_ms)
    late = sent(end_ms - 1, deadline_ms=never_ms)
    assert until(late, end_ms - 1) == end_ms - 1 + SKEW_MS
    reply = sent(NOW_MS, deadline_ms=never_ms, role=Role.REPLY)
    assert until(reply, NOW_MS) == NOW_MS + 24 * HOUR_MS + SKEW_MS


@pytest.mark.parametrize("durable", [True, False])
def test_a_generation_of_another_time_is_none(durable: bool) -> None:
    oldest_ms = NOW_MS - (48 if durable else 24) * HOUR_MS - 2 * SKEW_MS
    for generation in (oldest_ms, NOW_MS, NOW_MS + SKEW_MS):
        check_generation(generation, BOUNDS, NOW_MS, durable=durable)
    for generation in (0, 1, oldest_ms - 1, NOW_MS + SKEW_MS + 1, 2**63, 2**64 - 1):
        with pytest.raises(Expired):
            check_generation(generation, BOUNDS, NOW_MS, durable=durable)


def take(seen: Seen, stream: bytes, counter: int, sent_ms: int = NOW_MS) -> None:
    seen.record(stream, counter, sent_ms, sent_ms + HOUR_MS)


def streams(source: int, count: int) -> list[bytes]:
    return [bytes([source] * SOURCE_BYTES) + number.to_bytes(16, "big") for number in range(count)]


def test_each_counter_is_new_once_in_whatever_order_they_come() -> None:
    seen = Seen()
    counters = [NOW_MS * 7 + at for at in range(3000)]
    Random(1).shuffle(counters)
    for counter in counters:
        assert not seen.has(STREAM, counter, NOW_MS)
        seen.record(STREAM, counter, NOW_MS, NOW_MS + 1)
        assert seen.has(STREAM, counter, NOW_MS)
    assert all(seen.has(STREAM, counter, NOW_MS) for counter in counters)
    assert not seen.has(bytes([1] * 24), counters[0], NOW_MS)


def test_a_message_that_was_never_taken_is_no_duplicate_however_many_came_after_it() -> None:
    seen = Seen()
    for counter in range(1, 50_000):
        take(seen, STREAM, counter)
    assert not seen.has(STREAM, 0, NOW_MS)
    seen.forget(NOW_MS + HOUR_MS - 1)
    assert seen.has(STREAM, 1, NOW_MS)
    take(seen, STREAM, 60_000, NOW_MS + 5)
    seen.forget(NOW_MS + HOUR_MS)
    ((source,),) = [seen.sources.values()]
    assert source.pages == 1
    assert not seen.has(STREAM, 1, NOW_MS), "it is refused for its age"
    assert seen.has(STREAM, 60_000, NOW_MS)
    seen.record(STREAM, 60_001, NOW_MS, NOW_MS)
    seen.forget(NOW_MS + HOUR_MS + 4)
    assert seen.has(STREAM, 60_000, NOW_MS), "the page lasts as long as the last of it"


def test_what_a_source_forgets_for_want_of_room_it_refuses() -> None:
    seen = Seen(pages_max=4)
    for counter in range(0, 10_240, 2):
        take(seen, STREAM, counter)
    assert all(seen.has(STREAM, counter, NOW_MS) for counter in range(0, 10_240, 2))
    assert seen.has(STREAM, 1, NOW_MS)
    assert not seen.has(STREAM, 10_239, NOW_MS)
    (source,) = seen.sources.values()
    assert source.pages == 4
    for stream in streams(0, 3):
        take(seen, stream, 1)
    assert (source.pages, len(source.streams)) == (2, 2), "the one that was not used for longest"
    assert seen.has(STREAM, 10_239, NOW_MS)


def test_whoever_opens_many_streams_has_only_his_own_messages_refused() -> None:
    """Also with a clock that is ahead."""
    seen = Seen(streams_max=100, source_streams_max=10)
    for stream in streams(1, 5):
        take(seen, stream, 1)
    for stream in streams(2, 500):
        take(seen, stream, 1, NOW_MS + SKEW_MS)
    fresh = streams(1, 6)[-1]
    assert not seen.has(fresh, 1, NOW_MS)
    assert seen.has(streams(2, 501)[-1], 1, NOW_MS)
    assert sum(len(one.streams) for one in seen.sources.values()) == 15
    for source in range(3, 30):
        for stream in streams(source, 9):
            take(seen, stream, 1)
    assert sum(len(one.streams) for one in seen.sources.values()) == 100
    seen.forget(NOW_MS + HOUR_MS)
    assert seen.has(streams(2, 501)[-1], 1, NOW_MS), "until that is too old anyway"
    seen.forget(NOW_MS + HOUR_MS + SKEW_MS)
    assert not seen.sources


def test_a_stream_that_was_forgotten_for_want_of_room_takes_nothing_of_that_time() -> None:
    seen = Seen(source_streams_max=2)
    one, two, three = streams(1, 3)
    for number, stream in enumerate((one, two, three)):
        take(seen, stream, 1, NOW_MS + number)
    assert seen.has(one, 2, NOW_MS)
    assert not seen.has(one, 2, NOW_MS + 1)
    assert not seen.has(three, 2, NOW_MS - 5)


def test_what_was_kept_elsewhere_is_put_back() -> None:
    seen = Seen()
    for _ in range(2):
        seen.restore(STREAM, 5, 0b10, NOW_MS + 5, 3, NOW_MS)
        seen.restore_floor(STREAM[:SOURCE_BYTES], NOW_MS, NOW_MS + HOUR_MS)
    assert seen.has(STREAM, 5 * 1024 + 1, NOW_MS)
    assert not seen.has(STREAM, 5 * 1024, NOW_MS)
    assert seen.has(STREAM, 2 * 1024, NOW_MS)
    assert seen.has(streams(0, 2)[-1], 1, NOW_MS)
    (source,) = seen.sources.values()
    assert source.pages == 1
    seen.forget(NOW_MS + 5)
    assert list(seen.sources) == [STREAM[:SOURCE_BYTES]]
    assert not source.streams
