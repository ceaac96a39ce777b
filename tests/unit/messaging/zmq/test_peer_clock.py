"""A deadline of another host's clock, whatever that clock shows and however it drifts."""

import random

import pytest

from transom.messaging.drivers.zmq.peer_clock import DRIFT, PeerClock


@pytest.mark.parametrize("seed", range(20))
def test_a_deadline_keeps_its_length_less_the_delay_whatever_the_clocks_show(seed: int) -> None:
    chance = random.Random(seed)
    start_s, drift = chance.uniform(-1e6, 1e6), chance.uniform(-DRIFT / 2, DRIFT / 2)
    clock, now_s = PeerClock(), 0.0

    def theirs(ours_s: float) -> float:
        return start_s + ours_s * (1 + drift)

    for number in range(2000):
        now_s += chance.expovariate(1 / 30)
        delay_s = 0.001 + (chance.expovariate(1) if number % 10 else 0.0)
        ahead_s = clock.ahead_s(theirs(now_s), now_s + delay_s)
        deadline_s = theirs(now_s) + 60.0 + ahead_s
        # Never earlier than it is, and late by no more than clocks drift between quick frames.
        assert deadline_s >= now_s + 60.0 - 1e-6
        if number % 10 == 0:
            assert deadline_s <= now_s + 60.0 + 0.001 + 1e-6


def test_a_frame_that_waited_in_a_stopped_process_is_known_to_be_late() -> None:
    clock = PeerClock()
    clock.ahead_s(1000.0, 5.0)
    written_s, read_s = 1001.0, 36.0  # thirty seconds in a buffer
    assert written_s + 2.0 + clock.ahead_s(written_s, read_s) < read_s


def test_the_first_frame_is_taken_at_its_word() -> None:
    assert PeerClock().ahead_s(1000.0, 5.0) == -995.0
