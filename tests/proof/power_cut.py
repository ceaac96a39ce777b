# SPDX-License-Identifier: Apache-2.0
"""The power cut at every prefix of recorded loads, seed after seed; see `support/powercut`.

A round is one recording of `STEPS` steps; each has its own load, its own checkpoints and its own
draws of what the disk forgets.
"""

import tempfile
from collections import Counter
from pathlib import Path

from proof.outcome import Outcome
from support import powercut, powerstart
from support.diskreplay import PLACE, record
from support.powercut import Table

STEPS = 500
STEPS_OF_SHARDS = 150
SHARDS = 3
CHEAP = {"TRANSOM_IDENTITY__PASSWORD_COST_LOG2": "10"}


def power_cuts(seed: int, rounds: int) -> Outcome:
    """Under load: nothing that was told is lost, doubled or half."""
    tables = []
    for one in range(seed, seed + rounds):
        with tempfile.TemporaryDirectory(prefix="transom-cut-", dir=PLACE) as place:
            root = Path(place) / "root"
            words = ("-m", "support.powerload", str(root), str(one), str(STEPS))
            tables.append(powercut.replay(record(root, *words), one, drawn_every=2))
    return _outcome(seed, tables)


def power_cuts_of_shards(seed: int, rounds: int) -> Outcome:
    """The same where the queue has three files, and messages go from one to another."""
    tables = []
    for one in range(seed, seed + rounds):
        with tempfile.TemporaryDirectory(prefix="transom-cut-", dir=PLACE) as place:
            root = Path(place) / "root"
            words = (str(root), str(one), str(STEPS_OF_SHARDS), str(SHARDS))
            recording = record(root, "-m", "support.powerload", *words)
            tables.append(powercut.replay(recording, one, shards=SHARDS, every=2, drawn_every=4))
    return _outcome(seed, tables)


def first_starts(seed: int, rounds: int) -> Outcome:
    """Of a first `transom up`: started again, it works."""
    tables = []
    for one in range(seed, seed + rounds):
        with tempfile.TemporaryDirectory(prefix="transom-cut-", dir=PLACE) as place:
            root = Path(place) / "root"
            recording = record(root, "-m", "support.powerstart", str(root), environment=CHEAP)
            tables.append(powerstart.replay(recording, one, drawn_every=1))
    return _outcome(seed, tables)


def _outcome(seed: int, tables: list[Table]) -> Outcome:
    states: Counter[str] = Counter()
    faults = []
    for at, table in enumerate(tables):
        states += table.states
        faults += [f"seed {seed + at}: {fault}" for fault in table.faults]
    prefixes = sum(table.prefixes for table in tables)
    acknowledged = sum(table.steps for table in tables)
    figures = {"prefixes": prefixes, "acknowledged": acknowledged, "states": states.total()}
    return Outcome(len(tables), faults, {**figures, **states})
