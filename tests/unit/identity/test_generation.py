import os
import subprocess
import sys
import timeit
from pathlib import Path

import pytest

from transom.errors import ConfigError, InternalError
from transom.runtime.auth.generation import Generation


async def test_a_change_is_seen_by_every_holder_of_the_file(tmp_path: Path) -> None:
    one, two = (Generation(tmp_path / "g", os.urandom) for _ in range(2))
    await one.start()
    await two.start()
    seen = {two.read()}
    for _ in range(100):
        one.change()
        assert two.read() == one.read()
        seen.add(two.read())
    assert len(seen) == 101
    await one.stop()
    await two.stop()


async def test_another_process_changes_it_for_us(tmp_path: Path) -> None:
    here = Generation(tmp_path / "g", os.urandom)
    await here.start()
    before = here.read()
    script = (
        "import asyncio, os, sys\nfrom pathlib import Path\n"
        "from transom.runtime.auth.generation import Generation\n"
        "g = Generation(Path(sys.argv[1]), os.urandom)\nasyncio.run(g.start())\ng.change()\n"
        "print(g.read())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "g")], capture_output=True, text=True
    )
    assert here.read() == int(done.stdout) != before
    await here.stop()


async def test_the_file_is_its_owners_and_survives(tmp_path: Path) -> None:
    one = Generation(tmp_path / "g", os.urandom)
    await one.start()
    one.change()
    number = one.read()
    await one.stop()
    await one.start()
    assert one.read() == number
    assert (tmp_path / "g").stat().st_mode & 0o777 == 0o600
    await one.stop()


async def test_reading_costs_well_under_a_microsecond(tmp_path: Path) -> None:
    one = Generation(tmp_path / "g", os.urandom)
    await one.start()
    assert min(timeit.repeat(one.read, number=10_000, repeat=9)) / 10_000 < 1e-6
    await one.stop()


async def test_it_is_not_used_before_its_start_or_where_no_file_can_be(tmp_path: Path) -> None:
    with pytest.raises(InternalError):
        Generation(tmp_path / "g", os.urandom).read()
    with pytest.raises(ConfigError):
        await Generation(tmp_path / "absent" / "g", os.urandom).start()
