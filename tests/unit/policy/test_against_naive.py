# SPDX-License-Identifier: Apache-2.0
"""Random programs and updates: the engine says what the naive evaluator says, by seed.

Some hundred programs here, ten thousand in `proof/policy.py`; what is checked says
`support/datalog_play`. A failure prints the least program that still has it.
"""

import pytest

from support.datalog_least import told
from support.datalog_world import script

PROGRAMS = 400
AT_ONCE = 50


@pytest.mark.parametrize("first", range(0, PROGRAMS, AT_ONCE))
def test_the_engine_says_what_plain_evaluation_says(first: int) -> None:
    for seed in range(first, first + AT_ONCE):
        fault = told(script(seed))
        assert fault is None, fault
