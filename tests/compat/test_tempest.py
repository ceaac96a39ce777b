"""Tempest and its plug-in for queues, unmodified, against a whole Transom: the listed tests.

The lists are in `tests/compat/tempest`; what is not in them, and why: docs/howto/run-tempest.md.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.stack import Stack
from support.tempest import listed, prepared, run

CHEAP = {
    "TRANSOM_IDENTITY__PASSWORD_COST_LOG2": "10",
    "TRANSOM_QUEUE__WEBHOOK_ALLOW": "127.0.0.0/8",
}
"""The suites make many users; how long hashing takes is none of what they look at. And they name
subscribers on this machine."""
SLOW_S = 400
ALL_OF_THE_PLUGIN = 135


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


@pytest.mark.timeout(SLOW_S)
def test_what_waits_for_claims_to_end_passes(stack: Stack, tmp_path: Path) -> None:
    """At once, with an account each: each of them waits for a minute or two."""
    names = listed("queue_slow_with_accounts")
    folder = prepared(stack, tmp_path / "slow", accounts=2 * len(names))
    with ThreadPoolExecutor(len(names)) as pool:
        outcomes = list(pool.map(lambda name: run(folder, [name], SLOW_S), names))
    for outcome in outcomes:
        assert outcome.succeeded, outcome.printed
        assert (outcome.ran, outcome.skipped) == (1, 0)


def test_the_one_that_cannot_pass_is_told_why(stack: Stack, tmp_path: Path) -> None:
    """It sends with a trust, and embedded identity makes none. With accounts that nobody used."""
    (name,) = listed("queue_cannot_pass")
    outcome = run(prepared(stack, tmp_path / "cannot"), [name])
    assert (outcome.ran, outcome.succeeded) == (1, False), outcome.printed
    assert "trust" in outcome.printed.partition("Details:")[2].lower(), outcome.printed


def test_every_test_of_the_plugin_is_in_one_of_the_lists() -> None:
    suites = ("queue_with_accounts", "queue_slow_with_accounts", "queue_cannot_pass")
    names = [name for suite in suites for name in listed(suite)]
    assert (len(names), len(set(names))) == (ALL_OF_THE_PLUGIN, ALL_OF_THE_PLUGIN)


def test_what_makes_its_own_users_as_admin_passes(stack: Stack, tmp_path: Path) -> None:
    names = listed("identity_with_dynamic_credentials")
    outcome = run(prepared(stack, tmp_path / "dynamic", dynamic=True), names)
    assert outcome.succeeded, outcome.printed
    assert (outcome.ran, outcome.skipped) == (len(names), 0)
