# SPDX-License-Identifier: Apache-2.0
"""A real Zaqar and this server are asked the same; every difference is one that is written down.

A difference that no line of `explained.py` is for fails; so does a line that no difference needs,
or whose row is not on the page.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from compat.zaqar import of_claims, of_messages, of_pools, of_queues, of_requests, of_sharing
from compat.zaqar.explained import LINES, Line
from compat.zaqar.walk import Peer, Scenario, Walk, differences

PAGE = Path(__file__).parents[3] / "docs/reference/queue-differences.md"
PARTS = (of_requests, of_queues, of_messages, of_claims, of_sharing, of_pools)
LEAST_PROBES = 780


def named(scenario: Scenario) -> str:
    return f"{scenario.__module__.rpartition('.of_')[2]}.{scenario.__name__}"


SCENARIOS = [scenario for part in PARTS for scenario in part.SCENARIOS]
needed: set[Line] = set()
walked: set[str] = set()
probes: list[str] = []


def unexplained(name: str, theirs: Walk, ours: Walk) -> Iterator[str]:
    """The differences that no line is for; remembers which lines were needed."""
    assert list(theirs.answers) == list(ours.answers)
    for step, answer in theirs.answers.items():
        where = f"{name} {step}"
        for field, other, mine in differences(answer, ours.answers[step]):
            found = [line for line in LINES if line.explains(where, field, other, mine)]
            needed.update(found)
            if not found:
                yield f"{where} | {field} | {other} | {mine}"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=named)
def test_every_difference_from_a_real_zaqar_is_written_down(
    scenario: Scenario, ours: Peer, request: pytest.FixtureRequest
) -> None:
    name = named(scenario)
    peer = "pooled_zaqar" if scenario in of_pools.SCENARIOS else "zaqar"
    theirs = Walk(name, request.getfixturevalue(peer))
    scenario(theirs)
    mine = Walk(name, ours)
    scenario(mine)
    probes.extend(mine.answers)
    walked.add(name)
    found = list(unexplained(name, theirs, mine))
    assert not found, "\n".join(["differs, and no line of explained.py says why:", *found])


def test_every_line_is_needed_and_its_row_is_on_the_page() -> None:
    if walked != {named(scenario) for scenario in SCENARIOS}:
        pytest.skip("not all walks were chosen")
    assert len(probes) >= LEAST_PROBES
    idle = [f"{line.row}: {line.where}" for line in LINES if line not in needed]
    assert not idle, "\n".join(["no difference needs:", *idle])
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    absent = sorted({line.row for line in LINES if " ".join(line.row.split()) not in page})
    assert not absent, "\n".join(["not on the page:", *absent])
