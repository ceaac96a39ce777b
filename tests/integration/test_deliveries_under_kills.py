"""Whoever is killed, whenever: each subscriber gets each message, in order, at least once."""

import contextlib
import json
import os
import random
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from support.postgres import fresh_database
from support.stack import Stack, wait_for
from support.steady_poster import Asker, SteadyPoster, token_of
from support.strict_receiver import StrictReceiver, strict_receiver

KILLS = int(os.environ.get("TRANSOM_TEST_KILLS", "8"))
SEED = int(os.environ.get("TRANSOM_TEST_SEED", "1"))
PATHS = ("/a", "/b", "/c")
PATIENCE_S = 20.0
POLICY = {"retries_with_no_delay": 1000, "minimum_delay": 1, "maximum_delay": 11}

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_message_reaches_every_subscriber_in_order(tmp_path: Path, workers: int) -> None:
    survive(tmp_path, workers)


def test_the_same_where_the_data_are_on_a_server(tmp_path: Path) -> None:
    with fresh_database() as server:
        survive(tmp_path, 2, "--database", server.url)


def survive(folder: Path, workers: int, *arguments: str) -> None:
    environment = {
        "TRANSOM_QUEUE__WEBHOOK_ALLOW": "127.0.0.0/8",
        "TRANSOM_IDENTITY__PASSWORD_COST_LOG2": "10",
        "TRANSOM_API__WORKERS": str(workers),
    }
    stack = Stack(folder / "data", environment)
    chance = random.Random(SEED)
    with strict_receiver(SEED) as receiver:
        try:
            stack.start(*arguments)
            token = token_of(stack.data)
            asker = Asker(stack.url, token)
            for path in PATHS:
                wanted = {
                    "subscriber": receiver.url + path,
                    "options": {"_retry_policy": POLICY},
                }
                status, answer = asker.ask("POST", "/v2/queues/q/subscriptions", wanted)
                assert status == 201, answer
            poster = SteadyPoster(Asker(stack.url, token), "q", SEED)
            poster.start()
            for at in range(KILLS):
                time.sleep(chance.uniform(0.1, 1.0))
                kill(stack, "worker" if at % 2 else "api")
            poster.end()
            asker.close()
            wanted_numbers = list(range(poster.acknowledged))
            for path in PATHS:
                settled(receiver, path, len(wanted_numbers))
                assert receiver.first_times(path) == wanted_numbers
            assert receiver.refused > 0
            asker = Asker(stack.url, token)  # the connection before is of a killed one
            page = json.loads(asker.ask("GET", "/v2/queues/q/subscriptions?details=true")[1])
            asker.close()
            assert [one["undeliverable"] for one in page["subscriptions"]] == [0, 0, 0]
            sent = sum(len(receiver.taken[path]) for path in PATHS)
            print(f"{len(wanted_numbers)} messages, {sent} taken, {poster.again} posts again")
        finally:
            stack.stop()


def settled(receiver: StrictReceiver, path: str, number: int) -> None:
    """Returns when all have come, or none has for a while."""
    before = -1
    while (now := len(receiver.first_times(path))) < number and now > before:
        before = now
        with contextlib.suppress(AssertionError):
            wait_for(partial(receiver.has, path, number), PATIENCE_S)


def kill(stack: Stack, role: str) -> None:
    """With -9; returns when it is back."""
    victim = stack.role(role)["pid"]
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: stack.role(role)["pid"] not in (None, victim), 30)
    stack.wait_ready()
