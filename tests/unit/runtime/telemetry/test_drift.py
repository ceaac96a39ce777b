# SPDX-License-Identifier: Apache-2.0
"""A jump of the wall clock is told once, with what it means."""

import logging
import time

import pytest

from transom.runtime.clock import SystemClock
from transom.runtime.telemetry.drift import DriftWatch


async def test_a_jump_is_told_once_and_so_is_the_way_back(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING)
    watch = DriftWatch(SystemClock())
    real = time.time_ns
    await watch.start()
    monkeypatch.setattr(time, "time_ns", lambda: real() + 3600 * 10**9)
    watch.look()
    watch.look()
    assert [record.moved_s for record in caplog.records] == [pytest.approx(3600, abs=1)]  # type: ignore[attr-defined]
    monkeypatch.setattr(time, "time_ns", real)
    watch.look()
    await watch.stop()
    assert len(caplog.records) == 2
