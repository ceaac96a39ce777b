# SPDX-License-Identifier: Apache-2.0
"""The clock goes on evenly while the machine's wall clock is moved."""

import time

import pytest

from transom.runtime.clock import SystemClock


@pytest.mark.parametrize("jump_s", [-3600, 3600])
def test_a_jump_of_the_wall_clock_moves_nothing_and_is_told(
    monkeypatch: pytest.MonkeyPatch, jump_s: int
) -> None:
    clock = SystemClock()
    before = clock.now_ms()
    wall = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: wall + jump_s * 1_000_000_000)
    assert 0 <= clock.now_ms() - before < 1000
    assert clock.drift_s() == pytest.approx(jump_s, abs=1)


def test_now_is_the_wall_clock_at_start() -> None:
    assert abs(SystemClock().now_ms() - time.time_ns() // 1_000_000) < 1000


def test_monotonic_time_never_steps_back() -> None:
    clock = SystemClock()
    assert clock.monotonic_s() <= clock.monotonic_s()
