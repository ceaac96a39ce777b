"""The queue's engines: one conformance suite over all of them.

| engine   | where queues are                                                     |
|----------|----------------------------------------------------------------------|
| sqlite   | one file                                                             |
| postgres | one schema of a server                                               |
| shards   | three files                                                          |
| pools    | a schema as the home, another one and a file as pools beside it      |

What a caller sees is the same on each, so the tests that ask as callers do run on all four; those
that look into the one database run on the first two.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from support.postgres import chosen_engine
from support.queues import Door, open_door

ON_ALL = frozenset(
    {
        "test_against_model",
        "test_claims_http",
        "test_dead_letters_http",
        "test_deliveries",
        "test_encrypted",
        "test_idempotency_http",
        "test_many_claims_http",
        "test_message_keys_http",
        "test_messages_http",
        "test_parts_of_claims_http",
        "test_queues_http",
        "test_races",
        "test_subscriptions_http",
        "test_waiting_http",
    }
)

OF_ONE_DATABASE = frozenset(
    {
        "test_a_key_moved_by_hand_to_another_project_does_not_open_there",
        "test_a_lost_master_key_is_told_and_loses_nothing",
        "test_another_master_key_seals_the_keys_again_and_what_was_sealed_opens",
        "test_what_leaves_the_process_that_has_the_door_is_sealed",
        "test_who_waits_for_dead_letters_is_woken_by_the_claim_that_moves_them",
    }
)
"""They have a second process, or a second master key, that knows of no pools; or are about what
takes a sweep between databases."""


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """The test runs on each that `pytest_generate_tests` gives it."""
    yield from chosen_engine(request)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    """A served queue on the engine, if the test runs on each."""
    async with open_door(tmp_path) as door:
        yield door


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "engine" not in metafunc.fixturenames:
        return
    engines = ["sqlite", "postgres"]
    of_one = metafunc.function.__name__ in OF_ONE_DATABASE
    if not of_one and metafunc.module.__name__.rpartition(".")[2] in ON_ALL:
        engines += ["shards", "pools"]
    metafunc.parametrize("engine", engines, indirect=True)
