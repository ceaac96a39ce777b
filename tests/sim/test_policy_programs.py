# SPDX-License-Identifier: Apache-2.0
"""Thousands of random policy programs and updates beside plain evaluation, by seed.

The first 400 seeds are those of `tests/unit/policy/test_against_naive.py`; ten thousand are in
`make proof`.
"""

import pytest

from support.datalog_least import told
from support.datalog_world import script

FIRST, LAST = 400, 2400
AT_ONCE = 100


@pytest.mark.parametrize("first", range(FIRST, LAST, AT_ONCE))
def test_the_engine_says_what_plain_evaluation_says(first: int) -> None:
    for seed in range(first, first + AT_ONCE):
        fault = told(script(seed))
        assert fault is None, fault
