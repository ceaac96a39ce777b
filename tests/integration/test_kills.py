# SPDX-License-Identifier: Apache-2.0
"""Any process may be killed or suspended at any moment, under load of every kind: what was
acknowledged stays true, and it comes back.

Five strikes each here; hundreds, by seed, in `proof/fire.py`.
"""

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from support.fire import Strikes, complaints
from support.leftovers import Marked
from support.whole_fire import NEEDS, WholeFire

KILLS = 5
SEED = 1

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Marked]:
    stack = Marked(tmp_path / "data")
    stack.environment |= NEEDS
    try:
        yield stack.start()
    finally:
        stack.stop()


@pytest.fixture
def strikes(stack: Marked) -> Iterator[Strikes]:
    with closing(WholeFire(stack, SEED)) as fire:
        yield Strikes(fire.light(), random.Random(SEED))


def survives(stack: Marked, strikes: Strikes) -> None:
    """Ends the fire: nothing promised is broken, nothing startling is logged, nothing is left."""
    assert strikes.fire.douse() == []
    strikes.fire.close()
    assert stack.left() == []
    assert complaints(stack.data) == []


@pytest.mark.parametrize("role", ["api", "worker"])
def test_a_killed_role_is_back_and_nothing_acknowledged_is_lost(
    stack: Marked, strikes: Strikes, role: str
) -> None:
    for _ in range(KILLS):
        strikes.kill(role)
        strikes.fire.goes_on()
    survives(stack, strikes)
    assert strikes.median_s() < 1.5, strikes.back_s


def test_a_killed_fork_server_is_replaced_and_nobody_notices(
    stack: Marked, strikes: Strikes
) -> None:
    before = {role["name"]: role["pid"] for role in stack.status()["roles"]}
    for _ in range(KILLS):
        strikes.kill("forkserver")
        strikes.fire.goes_on()
    after = {role["name"]: role["pid"] for role in stack.status()["roles"]}
    assert strikes.fire.cut_off == 0
    assert {name for name in before if before[name] != after[name]} == {"forkserver"}
    survives(stack, strikes)


def test_when_the_supervisor_is_killed_its_roles_end_and_up_starts_anew(
    stack: Marked, strikes: Strikes
) -> None:
    for _ in range(KILLS):
        before = set(stack.processes()) - strikes.fire.watching
        strikes.kill("supervisor")
        assert not before & set(stack.processes())
        strikes.fire.goes_on()
    survives(stack, strikes)


@pytest.mark.parametrize("role", ["api", "worker", "supervisor"])
def test_a_suspended_role_goes_on_where_it_was(stack: Marked, strikes: Strikes, role: str) -> None:
    for pause_s in (0.1, 1.0, 5.0):
        strikes.pause(role, pause_s)
        strikes.fire.goes_on()
    survives(stack, strikes)


def test_a_watch_outlives_down_and_up(stack: Marked, strikes: Strikes) -> None:
    port = stack.url.rpartition(":")[2]
    stack.stop()
    stack.start("--port", port)
    strikes.fire.goes_on()
    survives(stack, strikes)
