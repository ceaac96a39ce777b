"""Long polling with several processes: who waits at one hears what another writes."""

import statistics
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from support.leftovers import Marked
from support.load import Session, login
from support.postgres import Server

pytestmark = pytest.mark.timeout(240)
ROUNDS = 12


@pytest.fixture(params=["files", "postgres"])
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Marked]:
    stack = Marked(tmp_path / "data")
    stack.environment["TRANSOM_API__WORKERS"] = "3"
    options: list[str] = []
    if request.param == "postgres":
        server: Server = request.getfixturevalue("postgres")
        options = ["--database", server.url]
    try:
        stack.start(*options)
        yield stack
    finally:
        stack.stop()


def claim(session: Session, queue: str, found: list[tuple[float, object]]) -> None:
    status, _ = session.ask("POST", f"/queue/v2/queues/{queue}/claims?wait=9&limit=1")
    found.append((time.monotonic(), status))


@pytest.mark.alone
def test_a_post_at_one_worker_wakes_who_waits_at_another(stack: Marked) -> None:
    token = login(stack)
    late_s = []
    with closing(Session(stack.url, token)) as poster:
        for number in range(ROUNDS):
            queue, found = f"wake-{number}", []  # type: ignore[var-annotated]
            with closing(Session(stack.url, token)) as waiter:
                thread = threading.Thread(target=claim, args=(waiter, queue, found))
                thread.start()
                while not waits(stack):
                    time.sleep(0.02)
                posted_s = time.monotonic()
                path = f"/queue/v2/queues/{queue}/messages"
                assert poster.ask("POST", path, {"messages": [{"body": 1}]})[0] == 201
                thread.join(35)
            assert [status for _, status in found] == [201]
            late_s.append(found[0][0] - posted_s)
    assert statistics.median(late_s) < 0.3, late_s
    assert max(late_s) < 5, late_s


def test_a_stop_answers_who_waits_at_once(stack: Marked) -> None:
    found: list[tuple[float, object]] = []
    with closing(Session(stack.url, login(stack))) as waiter:
        thread = threading.Thread(target=claim, args=(waiter, "none", found))
        thread.start()
        while not waits(stack):
            time.sleep(0.02)
        began_s = time.monotonic()
        stack.stop()
        thread.join(35)
    assert [status for _, status in found] == [204]
    assert found[0][0] - began_s < 5


def waits(stack: Marked) -> bool:
    """Whether a worker says that somebody waits."""
    with urllib.request.urlopen(f"{stack.url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    figures = [line for line in lines if line.startswith("transom_queue_waiters")]
    return any(not line.endswith(" 0.0") for line in figures)
