"""Tempest and its plug-in for queues, unmodified, against a whole Transom: the listed tests.

The lists are in `tests/compat/tempest`; what is not in them, and why: docs/howto/run-tempest.md.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.stack import Stack
from support.tempest import listed, prepared, run

CHEAP = {"TRANSOM_IDENTITY__PASSWORD_COST_LOG2": "10"}
"""The suites make many users; how long hashing takes is none of what they look at."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    started = Stack(tmp_path_factory.mktemp("data"), CHEAP)
    try:
        yield started.start()
    finally:
        started.stop()


@pytest.fixture(scope="module")
def with_accounts(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(stack, tmp_path_factory.mktemp("tempest") / "accounts")


@pytest.mark.parametrize("suite", ["identity_with_accounts", "queue_with_accounts"])
def test_what_needs_no_admin_passes_with_accounts_made_before(
    with_accounts: Path, suite: str
) -> None:
    names = listed(suite)
    outcome = run(with_accounts, names)
    assert outcome.succeeded, outcome.printed
    assert (outcome.ran, outcome.skipped) == (len(names), 0)


def test_what_makes_its_own_users_as_admin_passes(stack: Stack, tmp_path: Path) -> None:
    names = listed("identity_with_dynamic_credentials")
    outcome = run(prepared(stack, tmp_path / "dynamic", dynamic=True), names)
    assert outcome.succeeded, outcome.printed
    assert (outcome.ran, outcome.skipped) == (len(names), 0)
