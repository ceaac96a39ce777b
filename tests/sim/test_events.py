"""Events through kills of those who keep them and those who listen, on a bad bus, by seed."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from transom.node.events import log as log_module

from support.event_world import APPENDED, episode
from virtual import run_virtual


@pytest.mark.parametrize("seed", range(15))
def test_each_event_reaches_each_pool_or_its_loss_is_told(tmp_path: Path, seed: int) -> None:
    world = run_virtual(lambda: episode(tmp_path, seed), seed)
    assert len(world.appended) == APPENDED
    assert world.deaths, "nobody was killed"


def begins_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a pool does not take in time is passed over."""
    monkeypatch.setattr(log_module, "_NEXT", log_module._NEXT.replace("n >= ?", "n > 1 + ?"))


def forgets_the_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was given once does not come again."""
    monkeypatch.setattr(log_module, "_EXPIRED", log_module._EXPIRED + " offset 1")


def tells_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(*_: Any) -> None:
        return

    monkeypatch.setattr(log_module._Hand, "tell_lost", silent)


def numbers_the_last_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "_NEW", log_module._NEW.replace("by id", "by id desc"))


@pytest.mark.parametrize(
    "plant",
    [
        begins_at_the_end,
        forgets_the_dead,
        tells_no_loss,
        numbers_the_last_first,
    ],
)
def test_a_planted_fault_is_caught(
    plant: Callable[[pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    caught = 0
    for seed in range(6):
        (tmp_path / str(seed)).mkdir()
        try:
            run_virtual(partial(episode, tmp_path / str(seed), seed), seed)
        except (ExceptionGroup, AssertionError):
            caught += 1
    assert caught
