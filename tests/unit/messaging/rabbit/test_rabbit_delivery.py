"""What arrives: its body, its time, its tag."""

import bz2
import zlib
from math import inf
from random import Random

import pytest

from transom.errors import InvalidEnvelope
from transom.messaging.drivers.rabbit import delivery
from transom.messaging.drivers.rabbit.channel import Channel
from transom.messaging.drivers.rabbit.delivery import body_of, deadline_of, packed
from transom.messaging.drivers.rabbit.foreign import TRIES, Foreign
from transom.messaging.proto.amqp import Delivered, Properties


def properties(compression: str = "", expiration: str | None = None) -> Properties:
    headers = {"compression": compression} if compression else {}
    return Properties(headers=headers, expiration=expiration)


@pytest.mark.parametrize(
    ("kind", "pack"), [(delivery.GZIP, zlib.compress), (delivery.BZ2, bz2.compress)]
)
def test_packed_bodies_are_opened(kind: str, pack) -> None:
    assert body_of(properties(kind), pack(b"x" * 5000)) == b"x" * 5000


def test_what_we_pack_is_opened() -> None:
    for name, kind in delivery.CONTENT_TYPES.items():
        assert body_of(properties(kind), packed(b"body", name)) == b"body"


def test_a_small_message_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "BODY_BYTES_MAX", 1000)
    for kind, pack in ((delivery.GZIP, zlib.compress), (delivery.BZ2, bz2.compress)):
        assert body_of(properties(kind), pack(bytes(1000))) == bytes(1000)
        with pytest.raises(InvalidEnvelope):
            body_of(properties(kind), pack(bytes(1_000_000)))


@pytest.mark.parametrize("kind", [delivery.GZIP, delivery.BZ2, "application/x-unheard"])
def test_damaged_and_unknown_packing_is_an_invalid_envelope(kind: str) -> None:
    for body in (b"", b"garbage", zlib.compress(b"x" * 100)[:-5], bz2.compress(b"x" * 100)[:-5]):
        with pytest.raises(InvalidEnvelope):
            body_of(properties(kind), body)


def test_the_deadline_is_the_arrival_and_the_expiration() -> None:
    assert deadline_of(properties(expiration="1500"), 10.0) == 11.5
    assert deadline_of(properties(), 10.0) == inf
    assert deadline_of(properties(expiration="soon"), 10.0) == inf


class Machine:
    """What the broker would know of the tags."""

    def __init__(self) -> None:
        self.unsettled: set[int] = set()
        self.frames = 0

    def acknowledge(self, channel: int, tag: int, multiple: bool = False) -> None:
        assert tag in self.unsettled, "a tag that is not out ends the channel at the broker"
        self.frames += 1
        gone = {one for one in self.unsettled if one <= tag} if multiple else {tag}
        self.unsettled -= gone

    def reject(self, channel: int, tag: int, requeue: bool) -> None:
        assert tag in self.unsettled
        self.unsettled.remove(tag)


class Wire:
    """The part of a link that acknowledging needs."""

    def __init__(self) -> None:
        self.machine = Machine()

    def acknowledgements_due(self, channel: Channel, *, now: bool) -> None: ...

    def flush_soon(self) -> None: ...


def arrived(tag: int) -> Delivered:
    return Delivered(1, "c", tag, False, "", "k", Properties(), b"")


def test_acknowledgements_in_any_order_settle_just_what_was_settled() -> None:
    draws = Random(3)
    for _ in range(300):
        wire = Wire()
        channel = Channel(wire, 1)
        out: set[int] = set()
        tag = 0
        for _ in range(draws.randrange(1, 40)):
            match draws.randrange(4):
                case 0 | 1:
                    tag += 1
                    out.add(tag)
                    wire.machine.unsettled.add(tag)
                    channel.delivered(arrived(tag))
                case 2 if out:
                    settled = draws.choice(sorted(out))
                    out.remove(settled)
                    if draws.random() < 0.2:
                        channel.reject(settled, requeue=True)
                    else:
                        channel.acknowledge(settled)
                case 3:
                    channel.write_acknowledgements()
                    assert wire.machine.unsettled == out
        channel.write_acknowledgements()
        assert wire.machine.unsettled == out


def test_acknowledgements_of_one_turn_are_one_frame() -> None:
    wire = Wire()
    channel = Channel(wire, 1)
    for tag in range(1, 101):
        wire.machine.unsettled.add(tag)
        channel.delivered(arrived(tag))
    for tag in range(1, 101):
        channel.acknowledge(tag)
    channel.write_acknowledgements()
    assert (wire.machine.unsettled, wire.machine.frames) == (set(), 1)


def test_a_foreign_message_is_given_back_a_few_times_and_is_then_ours() -> None:
    foreign = Foreign(frozenset({"ours"}))
    first = Delivered(1, "c", 1, False, "theirs", "k", Properties(), b"x")
    again = Delivered(1, "c", 2, True, "theirs", "k", Properties(), b"x")
    assert foreign.pause_s(first) == 0.0
    pauses = [foreign.pause_s(again) for _ in range(TRIES + 1)]
    assert pauses[-1] is None
    assert pauses[:-1] == sorted(pauses[:-1])
    assert foreign.pause_s(again) is not None, "another copy begins anew"
