# SPDX-License-Identifier: Apache-2.0
"""The collector stays away from what was loaded."""

import gc
import subprocess
import sys

import pytest

from transom.runtime.garbage import loading

FREEZES = """
import gc
from transom.runtime.garbage import loading
before = gc.get_freeze_count()
with loading():
    assert not gc.isenabled()
    rows = [[number] for number in range(100_000)]
assert gc.isenabled()
assert gc.get_freeze_count() - before >= 100_000
"""


def test_what_is_loaded_is_visited_neither_then_nor_later() -> None:
    # In a process of its own: what is frozen stays so.
    subprocess.run([sys.executable, "-c", FREEZES], check=True, timeout=60)


def test_a_load_that_fails_freezes_nothing_and_collection_goes_on() -> None:
    before = gc.get_freeze_count()
    with pytest.raises(RuntimeError), loading():
        raise RuntimeError
    assert gc.isenabled()
    assert gc.get_freeze_count() == before


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with pytest.raises(RuntimeError), loading():
            raise RuntimeError
        assert not gc.isenabled()
    finally:
        gc.enable()
