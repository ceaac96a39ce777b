# SPDX-License-Identifier: Apache-2.0
"""What a role says to be wrong with it."""

from transom.cli import roles


def test_parts_that_complain_alike_are_told_once() -> None:
    problems = {"queue": "does not reach it", "identity": "", "keys": "does not reach it"}
    told = roles._complaint([problems[part].strip for part in problems] + [lambda: "disk"])
    assert told == "does not reach it; disk"
    assert roles._complaint([lambda: ""]) == ""
