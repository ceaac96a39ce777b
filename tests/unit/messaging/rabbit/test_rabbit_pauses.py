# SPDX-License-Identifier: Apache-2.0
"""How long a session waits before it connects again."""

from itertools import pairwise

import pytest

from transom.messaging.drivers.rabbit.options import Options
from transom.messaging.drivers.rabbit.session import EAGER_S, EAGER_TRIES, longest_pause_s
from transom.messaging.url import TransportURL


def options(query: str = "") -> Options:
    return Options.of(TransportURL.parse(f"rabbit://host/?{query}"))


def test_after_a_link_that_was_of_use_each_host_is_tried_at_once() -> None:
    assert [longest_pause_s(options(), rounds, 0) for rounds in (-3, -2, -1)] == [0, 0, 0]


def test_failed_rounds_wait_longer_and_longer_but_for_a_minute_never_long() -> None:
    pauses_s = [longest_pause_s(options(), rounds, 0) for rounds in range(EAGER_TRIES)]
    assert pauses_s[:3] == [0.25, 0.5, EAGER_S]
    assert set(pauses_s[3:]) == {EAGER_S}
    assert longest_pause_s(options(), EAGER_TRIES, 0) == options().rabbit_interval_max


def test_links_that_break_young_are_made_again_soon_and_then_ever_later() -> None:
    pauses_s = [longest_pause_s(options(), -1, young) for young in range(1, EAGER_TRIES + 1)]
    assert sum(pauses_s[:3]) < 0.15
    assert all(later >= sooner for sooner, later in pairwise(pauses_s))
    assert pauses_s[-1] == EAGER_S
    assert longest_pause_s(options(), -1, EAGER_TRIES + 1) == options().rabbit_interval_max


@pytest.mark.parametrize(("rounds", "young"), [(0, 0), (-1, 1), (50, 0), (10**9, 0), (-1, 10**9)])
def test_the_options_bound_every_pause(rounds: int, young: int) -> None:
    assert longest_pause_s(options("kombu_reconnect_delay=0.4"), rounds, young) >= 0.4
    assert longest_pause_s(options("rabbit_interval_max=0.1"), rounds, young) <= 0.1
