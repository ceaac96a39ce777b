# SPDX-License-Identifier: Apache-2.0
"""A role may lose its way to PostgreSQL at any moment, under load of every kind: what was
acknowledged stays true, what was refused was not done, every request is answered, and all is well
again by itself.

Three cuts here; more, of every kind and of each role, by seed, in `proof/cuts.py`.
"""

import random
from contextlib import closing
from pathlib import Path

import pytest

from support.cuts import Cuts, on_postgres, startling
from support.whole_fire import WholeFire

SEED = 1

pytestmark = pytest.mark.timeout(240)


def test_a_role_that_is_cut_off_from_its_database_loses_and_doubles_nothing(tmp_path: Path) -> None:
    with on_postgres(tmp_path / "data", SEED) as (stack, ways):
        with closing(WholeFire(stack, SEED)) as fire:
            cuts = Cuts(fire.light(), ways, random.Random(SEED))
            cuts.cut("api", "silent")
            cuts.cut("worker", "refused")
            cuts.cut("api", "torn")
            assert fire.douse() == []
            assert cuts.faults() == []
        assert stack.left() == []
        assert startling(stack.data) == []
