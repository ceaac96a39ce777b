# SPDX-License-Identifier: Apache-2.0
"""Services start in order and stop in the reverse; tasks have an owner."""

import asyncio
import dataclasses

import pytest

from transom.node.logic.life import Limits
from transom.runtime.http.limits import HttpLimits
from transom.runtime.lifecycle import STOP_GRACE_S, Lifecycle


class Noted:
    """A service that notes what happens to it; `fail` and `hang` name the verb that does."""

    def __init__(self, name: str, notes: list[str], *, fail: str = "", hang: str = "") -> None:
        self.name, self.notes, self.fail, self.hang = name, notes, fail, hang

    async def start(self) -> None:
        await self._do("start")

    async def stop(self) -> None:
        await self._do("stop")

    async def _do(self, verb: str) -> None:
        self.notes.append(f"{verb} {self.name}")
        if self.fail == verb:
            raise RuntimeError(verb)
        if self.hang == verb:
            await asyncio.Event().wait()


async def test_services_stop_in_the_reverse_order() -> None:
    notes: list[str] = []
    async with Lifecycle() as lifecycle:
        for name in "abc":
            await lifecycle.start(name, Noted(name, notes))
    assert notes == ["start a", "start b", "start c", "stop c", "stop b", "stop a"]


async def test_what_had_started_is_stopped_when_a_later_start_fails() -> None:
    notes: list[str] = []
    with pytest.raises(RuntimeError):
        async with Lifecycle() as lifecycle:
            await lifecycle.start("a", Noted("a", notes))
            await lifecycle.start("b", Noted("b", notes, fail="start"))
    assert notes == ["start a", "start b", "stop a"]


async def test_a_stop_that_fails_or_hangs_keeps_no_other_up() -> None:
    notes: list[str] = []
    async with Lifecycle(stop_grace_s=0.01) as lifecycle:
        await lifecycle.start("a", Noted("a", notes))
        await lifecycle.start("b", Noted("b", notes, fail="stop"))
        await lifecycle.start("c", Noted("c", notes, hang="stop"))
    assert notes[-3:] == ["stop c", "stop b", "stop a"]


async def test_a_task_that_fails_ends_the_wait() -> None:
    async def work() -> None:
        raise LookupError("planted")

    async with Lifecycle() as lifecycle:
        lifecycle.spawn("work", work())
        with pytest.raises(LookupError, match="planted"):
            await lifecycle.wait()


async def test_tasks_are_cancelled_before_services_stop() -> None:
    notes: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            notes.append("task ended")

    async with Lifecycle() as lifecycle:
        await lifecycle.start("a", Noted("a", notes))
        lifecycle.spawn("work", work())
        await asyncio.sleep(0)
        lifecycle.request_stop()
        await lifecycle.wait()
    assert notes == ["start a", "task ended", "stop a"]


def test_the_longest_drain_of_the_doors_fits_into_a_stop_and_that_into_a_roles_drain() -> None:
    drain = next(f for f in dataclasses.fields(HttpLimits) if f.name == "drain_s")
    cancelled_s = 1.0  # what the server grants requests that it cuts off
    assert drain.metadata["option"].most + cancelled_s < STOP_GRACE_S
    assert Limits().drain_beats * Limits().beat_s > STOP_GRACE_S
