# SPDX-License-Identifier: Apache-2.0
"""Three workers behind one port: any of them may die, stand still or drain; nobody is told a lie.

The first of them owns the queue's file and writes for the others. Five kills here; hundreds, by
seed, in `proof/fire.py`.
"""

import json
import os
import random
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.fire import Fire, Strikes, complaints
from support.leftovers import Marked
from support.load import Session, read_all
from support.stack import wait_for
from support.workers import WORKERS, at_each, path_of, pids, post, stopped

SEED = 1

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Marked]:
    stack = Marked(tmp_path / "data")
    stack.environment["TRANSOM_API__WORKERS"] = "3"
    try:
        yield stack.start()
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Marked]:
    """For tests after which all three still run."""
    stack = Marked(tmp_path_factory.mktemp("steady") / "data")
    stack.environment["TRANSOM_API__WORKERS"] = "3"
    try:
        yield stack.start()
    finally:
        stack.stop()


def test_any_of_them_may_be_killed_under_load(stack: Marked) -> None:
    with closing(Fire(stack, SEED)) as fire:
        strikes = Strikes(fire.light(), random.Random(SEED))
        for name in (*WORKERS, "api", "api-2"):
            strikes.kill(name)
            fire.goes_on()
        assert fire.douse() == []
    assert stack.left() == []
    assert complaints(stack.data) == []
    assert strikes.median_s() < 1.5, strikes.back_s


def test_a_drain_under_load_loses_nothing(stack: Marked) -> None:
    with closing(Fire(stack, SEED)) as fire:
        fire.light()
        port = stack.url.rpartition(":")[2]
        stack.stop()
        stack.start("--port", port)
        fire.goes_on()
        assert fire.douse() == []
    assert complaints(stack.data) == []


def test_each_has_its_row_its_memory_and_its_restarts_and_the_owner_drains_last(
    stack: Marked,
) -> None:
    rows = {role["name"]: role for role in stack.status()["roles"]}
    assert set(rows) == {"supervisor", "forkserver", *WORKERS, "worker"}
    assert all(rows[name]["ready"] and 5 < rows[name]["memory_mib"] < 100 for name in WORKERS)
    os.kill(rows["api-3"]["pid"], signal.SIGKILL)
    wait_for(lambda: stack.role("api-3")["restarts"] == 1 and stack.role("api-3")["ready"])
    assert [stack.role(name)["restarts"] for name in ("api", "api-2")] == [0, 0]
    stack.stop()
    said = map(json.loads, (stack.data / "logs" / "supervisor.log").read_text().splitlines())
    ended = [at["role"] for at in said if at.get("state") == "stopped"]
    assert (ended[0], sorted(ended[1:3]), ended[3:]) == ("worker", ["api-2", "api-3"], ["api"])


def test_what_one_acknowledged_each_of_them_reads_at_once(steady: Marked) -> None:
    draw = random.Random(SEED)
    with at_each(steady) as sessions:
        for number in range(60):
            writer, reader = draw.choice(WORKERS), draw.choice(WORKERS)
            assert post(sessions[writer], "read", number) == 201
            found = read_all(sessions[reader], "read")
            assert found == list(range(number + 1)), (writer, reader)


def test_claims_of_several_workers_never_overlap(steady: Marked) -> None:
    claimed: list[str] = []

    def claim(session: Session) -> None:
        while True:
            path = path_of("raced", "claims") + "?limit=3"
            status, answer = session.ask("POST", path, {"ttl": 300, "grace": 60})
            if status == 204:
                return
            assert status == 201, answer
            claimed.extend(message["id"] for message in answer["messages"])

    with at_each(steady) as first, at_each(steady) as second:
        for number in range(200):
            assert post(first["api"], "raced", number) == 201
        racing = [
            threading.Thread(target=claim, args=[session])
            for session in (*first.values(), *second.values())
        ]
        for thread in racing:
            thread.start()
        for thread in racing:
            thread.join(60)
    assert len(claimed) == len(set(claimed)) == 200


def test_a_revoked_token_is_refused_by_all_of_them_at_once(steady: Marked) -> None:
    with at_each(steady) as sessions:
        for revoking in WORKERS:
            token = sessions["api"].new_token()
            assert token
            for session in sessions.values():
                assert session.ask("GET", "/queue/v2/queues", token=token)[0] == 200
            assert sessions[revoking].revoke(token) == 204
            for session in sessions.values():
                assert session.ask("GET", "/queue/v2/queues", token=token)[0] == 401


def test_while_the_owner_stands_still_writes_are_refused_in_time_and_reads_go_on(
    steady: Marked,
) -> None:
    with at_each(steady) as sessions:
        session = sessions["api-2"]
        assert post(session, "paused", "before") == 201
        with stopped(pids(steady)["api"]):
            began_s = time.monotonic()
            assert post(session, "paused", "meanwhile") == 503
            assert time.monotonic() - began_s < 8
            assert session.ask("GET", "/readyz")[0] == 503
            assert read_all(session, "paused") == ["before"]
        assert wait_for(lambda: session.ask("GET", "/readyz")[0] == 200)
        assert post(session, "paused", "after") == 201
        assert read_all(session, "paused") in (
            ["before", "after"],
            ["before", "meanwhile", "after"],
        )
    assert wait_for(lambda: steady.status()["ready"])


def test_a_connection_that_waits_in_the_kernel_outlives_any_of_them(stack: Marked) -> None:
    address = urlsplit(stack.url)
    there = pids(stack)
    with ExitStack() as opened:
        with stopped(*there.values()):
            waiting = []
            for _ in range(40):
                link = socket.create_connection((address.hostname, address.port), timeout=30)
                opened.callback(link.close)
                link.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                waiting.append(link)
            os.kill(there["api"], signal.SIGKILL)
            os.kill(there["api-3"], signal.SIGKILL)
        answers = [link.makefile("rb").readline() for link in waiting]
    assert answers == [b"HTTP/1.1 200 OK\r\n"] * 40


def test_any_of_them_shows_the_figures_of_all_and_a_kill_takes_none_back(stack: Marked) -> None:
    def posts(session: Session) -> int:
        _, text = session._exchange("GET", "/metrics", None, {})
        name = rb'transom_http_requests_total\{method="POST",mount="/queue",status="201"\} (\S+)'
        found = re.search(name, text)
        return int(float(found[1])) if found else 0

    with at_each(stack) as sessions:
        for number, session in enumerate(sessions.values()):
            for _ in range(5 + number):
                assert post(session, "counted", "x") == 201
        for session in sessions.values():
            assert wait_for(lambda session=session: posts(session) == 18)
            _, text = session._exchange("GET", "/metrics", None, {})
            for name in WORKERS:
                assert (
                    b'transom_http_requests_in_flight{method="POST",mount="/queue",process="%s"}'
                    % (name.encode())
                    in text
                )
        for name in ("api-3", "api"):
            os.kill(pids(stack)[name], signal.SIGKILL)
            assert posts(sessions["api-2"]) == 18
            wait_for(lambda: stack.status()["ready"])
            assert posts(sessions["api-2"]) == 18
        assert post(sessions["api-2"], "counted", "x") == 201
        assert posts(sessions["api-2"]) == 19
