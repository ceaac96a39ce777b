"""Both ends of a link over a wire that breaks at random: each parcel has one true fate."""

import random
from collections import deque

import pytest

from transom.messaging.drivers.zmq import outbound as module
from transom.messaging.drivers.zmq.inbound import Inbound, Order
from transom.messaging.drivers.zmq.outbound import Outbound, Outcome, Parcel
from transom.messaging.drivers.zmq.wire import Receipt, Refusal


class Wire:
    """A sender and a receiver; `cut` loses what is under way both ways, in part or in whole."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.sender = Outbound()
        self.receiver = Inbound()
        self.there: deque[list[tuple[int, Parcel]] | None] = deque()
        self.back: deque[tuple[str, Receipt]] = deque()
        self.delivered: list[int] = []
        self.held: list[int] = []
        self.fates: dict[int, Outcome] = {}
        self.verdicts: dict[int, Outcome] = {}
        self.posted: list[Parcel] = []
        self.most_held = 0
        self.unnoticed = False

    def post(self) -> None:
        name = len(self.posted)

        def settle(outcome: Outcome) -> None:
            assert name not in self.fates, "settled twice"
            self.fates[name] = outcome

        parcel = Parcel(b"a", str(name).encode(), 0.0, settle)
        self.posted.append(parcel)
        assert self.sender.offer(parcel)

    def write(self, parcels: list[Parcel]) -> None:
        if parcels:
            self.there.append([(parcel.number, parcel) for parcel in parcels])

    def step(self) -> None:
        match self.random.randrange(8):
            case 0 | 1:
                self.post()
            case 2:
                self.write(self.sender.take())
            case 3 | 4:
                self.arrive()
            case 5 | 6:
                self.come_back()
            case 7:
                if self.held and self.random.random() < 0.8:
                    self.receiver.release(self.held.pop(0))
                    self.back.append(("receipt", self.receiver.receipt()))
                elif self.unnoticed:
                    self.notice()
                elif self.random.random() < 0.3:
                    self.cut()

    def arrive(self) -> None:
        if not self.there:
            return
        frame = self.there.popleft()
        if frame is None:
            self.back.append(("whole", self.receiver.whole()))
            return
        for number, parcel in frame:
            match self.receiver.order(number):
                case Order.NEXT:
                    self.decide(number, int(parcel.body))
                case Order.GAP:
                    if self.receiver.tell_gap():
                        self.back.append(("whole", self.receiver.whole()))
                    return
                case Order.AGAIN:
                    pass
        self.back.append(("receipt", self.receiver.receipt()))

    def decide(self, number: int, name: int) -> None:
        choice = self.random.random()
        if choice < 0.1:
            self.verdicts[name] = Outcome.NOWHERE
            self.receiver.refuse(number, Refusal.NOBODY)
            return
        self.verdicts[name] = Outcome.TAKEN
        self.delivered.append(name)
        if choice < 0.5:
            self.held.append(number)
            self.receiver.hold(number)
            self.most_held = max(self.most_held, len(self.held))
        else:
            self.receiver.take(number)

    def come_back(self) -> None:
        if not self.back:
            return
        kind, receipt = self.back.popleft()
        if kind == "receipt":
            if not self.sender.confirm(receipt):
                self.there.append(None)
        else:
            again = self.sender.resume(receipt)
            assert again is not None
            self.write(again)

    def cut(self) -> None:
        """The sender may notice at once, or only after it has written on the new connection."""
        for _ in range(self.random.randrange(len(self.there) + 1)):
            self.arrive()
        self.there.clear()
        self.back.clear()
        self.unnoticed = True
        if self.random.random() < 0.7:
            self.notice()

    def notice(self) -> None:
        if self.unnoticed:
            self.unnoticed = False
            self.sender.broken()
            self.there.append(None)

    def settle_down(self) -> None:
        self.notice()
        for _ in range(10 * len(self.posted) + 100):
            self.write(self.sender.take())
            self.arrive()
            self.come_back()
            if self.held:
                self.receiver.release(self.held.pop(0))
                self.back.append(("receipt", self.receiver.receipt()))


@pytest.mark.parametrize("seed", range(60))
def test_every_parcel_is_delivered_once_in_order_and_its_sender_knows(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UNCONSUMED", 6)
    monkeypatch.setattr(module, "UNCONFIRMED", 10)
    wire = Wire(seed)
    wire.there.append(None)
    for _ in range(400):
        wire.step()
    wire.settle_down()
    assert wire.fates == wire.verdicts
    assert len(wire.fates) == len(wire.posted)
    assert wire.delivered == sorted(set(wire.delivered))
    assert wire.most_held <= 6
    assert wire.sender.idle


def opened() -> Outbound:
    link = Outbound()
    assert link.resume(Receipt(0, 0)) == []
    return link


def post(link: Outbound, fates: list[Outcome], address: bytes = b"a", size: int = 1) -> Parcel:
    parcel = Parcel(address, bytes(size), 0.0, fates.append)
    assert link.offer(parcel)
    return parcel


def test_a_dead_peer_settles_written_as_lost_and_waiting_as_nowhere() -> None:
    link, written, waiting = opened(), [], []
    post(link, written)
    link.take()
    post(link, waiting)
    assert link.close(None)
    assert (written, waiting) == ([Outcome.LOST], [Outcome.NOWHERE])


def test_last_words_make_the_rest_surely_undelivered() -> None:
    link, first, second = opened(), [], []
    post(link, first)
    post(link, second)
    link.take()
    assert not link.close(Receipt(1, 1))
    assert (first, second) == ([Outcome.TAKEN], [Outcome.NOWHERE])


def test_a_full_address_keeps_no_other_up() -> None:
    link, fates = opened(), []
    for _ in range(module.UNCONSUMED + 5):
        post(link, fates)
    other = post(link, fates, b"b")
    taken = link.take()
    assert len(taken) == module.UNCONSUMED + 1
    assert other in taken


def test_what_is_late_before_it_is_written_never_is() -> None:
    link, fates = Outbound(), []
    parcel = post(link, fates)
    link.late(parcel)
    link.resume(Receipt(0, 0))
    assert link.take() == []
    assert fates == [Outcome.LATE]


def test_what_is_late_after_it_was_written_is_settled_once() -> None:
    link, fates = opened(), []
    parcel = post(link, fates)
    link.take()
    link.late(parcel)
    link.confirm(Receipt(1, 1))
    assert fates == [Outcome.LATE]
    assert link.load(b"a") == 0


def test_big_bodies_are_bounded_by_bytes_but_one_always_goes() -> None:
    link, fates = opened(), []
    for _ in range(3):
        post(link, fates, size=module.UNCONSUMED_BYTES + 1)
    assert len(link.take()) == 1
    link.confirm(Receipt(1, 1))
    assert len(link.take()) == 1


def test_too_many_waiting_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING", 2)
    link, fates = Outbound(), []
    post(link, fates)
    post(link, fates)
    assert not link.offer(Parcel(b"a", b"", 0.0, fates.append))


def test_a_receiver_that_forgot_the_link_is_found_out() -> None:
    link, fates = opened(), []
    post(link, fates)
    link.take()
    link.confirm(Receipt(1, 1))
    link.broken()
    assert link.resume(Receipt(0, 0)) is None
