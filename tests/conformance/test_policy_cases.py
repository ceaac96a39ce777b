# SPDX-License-Identifier: Apache-2.0
"""The recorded language cases, all replayed: what differs is listed with its reason, and that only.

See `policy/README.md`.
"""

import tomllib

import pytest

from support.policy_cases import FOLDER, REFUSED, Told, replayed, said

CALLS = 1919


@pytest.fixture(scope="module")
def told() -> list[Told]:
    return list(replayed())


@pytest.fixture(scope="module")
def listed() -> set[tuple[str, int]]:
    deviations = tomllib.loads((FOLDER / "deviations.toml").read_text("utf-8"))["deviation"]
    assert all(len(one["reason"]) > 20 for one in deviations)
    return {(one["case"], one["call"]) for one in deviations}


def test_every_recorded_call_is_replayed(told: list[Told]) -> None:
    assert len(told) == CALLS


def test_nothing_differs_but_what_is_listed(told: list[Told], listed: set[tuple[str, int]]) -> None:
    other = [one for one in told if one.differs and (one.case, one.call) not in listed]
    assert not other, "\n".join(
        f"{one.case} call {one.call}: {one.text}\n  {one.ours}, recorded {one.theirs}"
        for one in other
    )


def test_every_listed_deviation_still_is_one(
    told: list[Told], listed: set[tuple[str, int]]
) -> None:
    assert listed == {(one.case, one.call) for one in told if one.differs}


def test_answers_and_refusals_are_really_compared(told: list[Told]) -> None:
    assert sum(one.theirs == REFUSED for one in told) >= 25
    assert sum(isinstance(one.theirs, frozenset) and bool(one.theirs) for one in told) >= 200
    assert said("p(1)") != said("p(1.0)")
    assert said("p(1) p(2)") == said("p(2) p(1)")
