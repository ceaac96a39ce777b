# SPDX-License-Identifier: Apache-2.0
"""Clocks that jump: under a running stack, between two starts, and at a boot. Needs root and cc."""

import json
import os
import signal
from contextlib import closing
from pathlib import Path

from support.load import Session, login
from support.places import Placed, WallClock, after_boot, kill_all
from support.stack import Stack, running, wait_for

HOUR_S = 3600
MESSAGES = "/queue/v2/queues/times/messages"
LEASES = ("feed:identity", "feed:queue", "feed:queue.stats")


def post(session: Session) -> int:
    return session.ask("POST", MESSAGES, {"messages": [{"body": 1, "ttl": 300}]})[0]


def ages(session: Session) -> list[int]:
    status, page = session.ask("GET", f"{MESSAGES}?echo=true&limit=20")
    assert status == 200
    return [message["age"] for message in page["messages"]]


def restart_api(stack: Stack) -> None:
    before = stack.role("api")["pid"]
    os.kill(before, signal.SIGTERM)
    wait_for(lambda: (found := stack.role("api"))["ready"] and found["pid"] != before, 30)


def test_a_wall_clock_that_is_moved_changes_nothing_until_a_restart(tmp_path: Path) -> None:
    clock = WallClock(tmp_path)
    stack = Stack(tmp_path / "data", clock.environment)
    try:
        session = Session(stack.start().url, login(stack))
        for number, moved_s in enumerate((0, HOUR_S, -HOUR_S, 87_600 * HOUR_S, -100 * HOUR_S), 1):
            clock.move(moved_s)
            assert post(session) == 201
            assert len(found := ages(session)) == number
            assert all(0 <= age < 60 for age in found)
            assert session.new_token() is not None
        assert [role["restarts"] for role in stack.status()["roles"]] == [0, 0, 0, 0]
        session.close()
        for moved_s in (-HOUR_S, 10 * HOUR_S, 0):  # times are the clock's again, and consistent
            clock.move(moved_s)
            restart_api(stack)
            session = Session(stack.url, login(stack))
            assert post(session) == 201
            assert all(age >= 0 for age in ages(session))
            assert session.ask("POST", "/queue/v2/queues/times/claims?limit=1", {})[0] == 201
            session.close()
    finally:
        stack.stop()


def leases(stack: Stack) -> dict[str, int]:
    """Those gained, by name, each with its latest generation."""
    lines = [json.loads(line) for line in stack.logs().splitlines() if '"lease gained"' in line]
    return {line["lease"]: line["generation"] for line in lines}


def test_leases_of_an_earlier_boot_hold_nobody_up(tmp_path: Path) -> None:
    """They are in the time of the machine's boot, which begins anew."""
    old = Placed(tmp_path / "data", after_boot(10_000_000))
    try:
        old.start()
        with closing(Session(old.url, login(old))) as session:
            assert post(session) == 201
        wait_for(lambda: leases(old) == dict.fromkeys(LEASES, 1), 5)
        kill_all(old)
    finally:
        old.stop()
    with running(tmp_path / "data") as stack:
        wait_for(lambda: leases(stack) == dict.fromkeys(LEASES, 2), 5)
        assert "feed not published" not in stack.logs()
