# SPDX-License-Identifier: Apache-2.0
"""The power goes while Transom writes: at every moment, with all that a disk may forget.

`support/diskreplay` says what a disk may forget, `support/powercut` and `support/powerstart` what
must be there all the same. `make proof` does it with more load and more seeds.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import powercut, powerstart
from support.diskreplay import PLACE, Disk, Recording, on_disk, record

STEPS = 200
STEPS_OF_SHARDS = 80
SHARDS = 3
PLANTED = 120
CHEAP = {"TRANSOM_IDENTITY__PASSWORD_COST_LOG2": "10"}


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="transom-cut-", dir=PLACE) as folder:
        yield Path(folder)


def load(place: Path, steps: int, *planted: str) -> Recording:
    root = place / "root"
    words = [str(root), "1", str(steps), *(("1", *planted) if planted else ())]
    return record(root, "-m", "support.powerload", *words)


def replayed(recording: Recording) -> Disk:
    disk = Disk(recording.root)
    for write in recording.writes:
        disk.take(write)
    return disk


@pytest.mark.timeout(600)
def test_nothing_told_is_lost_doubled_or_half_at_any_prefix(place: Path) -> None:
    recording = load(place, STEPS)
    assert replayed(recording).kept() == on_disk(recording.root), "a change was not recorded"
    table = powercut.replay(recording, 1, drawn_every=8)
    assert not table.faults, "\n".join(table.faults)
    assert table.steps >= STEPS * 0.9
    assert table.prefixes > 1000
    assert min(table.states[kind] for kind in ("all kept", "unsynced lost", "drawn")) > 20


@pytest.mark.parametrize("planted", ["lax", "off", "before"])
def test_losses_are_found_where_the_store_is_careless(place: Path, planted: str) -> None:
    """Commits that are not synced, syncing that is off, answers before the commit."""
    recording = load(place, PLANTED, planted)
    assert powercut.replay(recording, 1, drawn_every=8, faults_most=1).faults


def test_losses_are_found_where_a_folder_is_not_synced(place: Path) -> None:
    recording = load(place, PLANTED)
    table = powercut.replay(recording, 1, drawn_every=8, faults_most=1, deaf_folders=True)
    assert table.faults


@pytest.mark.timeout(600)
def test_a_first_start_that_is_cut_at_any_prefix_is_started_again(place: Path) -> None:
    root = place / "root"
    recording = record(root, "-m", "support.powerstart", str(root), environment=CHEAP)
    left, whole = on_disk(root), replayed(recording).kept()
    mapped = "data/identity.generation"  # written through memory
    assert {**whole, mapped: b""} == {**left, mapped: b""}, "a change was not recorded"
    table = powerstart.replay(recording, 1, drawn_every=16)
    assert not table.faults, "\n".join(table.faults)
    assert table.prefixes > 200
    assert table.steps == 1
    assert powerstart.replay(recording, 1, drawn_every=8, deaf_folders=True, faults_most=1).faults


@pytest.mark.timeout(600)
def test_nothing_told_is_lost_where_messages_go_from_one_file_to_another(place: Path) -> None:
    root = place / "root"
    words = (str(root), "1", str(STEPS_OF_SHARDS), str(SHARDS))
    recording = record(root, "-m", "support.powerload", *words)
    assert replayed(recording).kept() == on_disk(recording.root), "a change was not recorded"
    table = powercut.replay(recording, 1, shards=SHARDS, every=40)
    assert not table.faults, "\n".join(table.faults)
    assert table.prefixes > 1000
    assert min(table.states[kind] for kind in ("all kept", "unsynced lost", "drawn")) > 10
