# SPDX-License-Identifier: Apache-2.0
"""`transom queue` from the shell, against a whole Transom; a worker that outlives its death."""

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from transom.queue import client
from transom.queue.client import blocking

from support.stack import Stack, wait_for

END_S = 60


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = Stack(tmp_path_factory.mktemp("queue") / "data")
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def queues(stack: Stack) -> Iterator[blocking.Queues]:
    with blocking.connect("transom", config_file=str(stack.data / "clouds.yaml")) as found:
        yield found


def words(stack: Stack, *words: str) -> list[str]:
    return [sys.executable, "-m", "transom.cli", "queue", *words, "--data-dir", str(stack.data)]


def run(stack: Stack, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words(stack, *arguments), env=stack.environment, input=given, capture_output=True,
        text=True, check=False, timeout=END_S,
    )  # fmt: skip


def bodies(queue: blocking.Queue) -> list[Any]:
    return [message.body for message in queue.messages()]


def test_arguments_lines_and_files_are_posted(
    stack: Stack, queues: blocking.Queues, tmp_path: Path
) -> None:
    queue = queues.queue("posted")
    done = run(stack, "post", "posted", "one", "two words")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "2 posted to posted\n")
    done = run(stack, "post", "posted", given="three\n\nfour")
    assert done.stderr == "2 posted to posted\n"
    assert bodies(queue) == ["one", "two words", "three", "four"]
    queue.purge()
    lines = tmp_path / "lines"
    lines.write_text("".join(json.dumps({"id": n // 2, "n": n}) + "\n" for n in range(120)))
    done = run(stack, "post", "posted", "--file", str(lines), "--key-field", "id", "--ttl", "300")
    assert done.stderr == "120 posted to posted, 60 of them known by their keys\n"
    found = list(queue.messages())
    assert [message.body["n"] for message in found] == list(range(0, 120, 2))
    assert {message.ttl for message in found} == {300}
    queue.purge()
    assert run(stack, "post", "posted", "later", "--delay", "100").returncode == 0
    assert bodies(queue) == []


def test_a_line_that_is_no_message_is_named(stack: Stack, queues: blocking.Queues) -> None:
    done = run(stack, "post", "bad", "--json", "--batch", "1", given='{"a": 1}\n{"a":\n')
    assert done.returncode == 1
    assert done.stderr.startswith("transom: line 2: Input data was truncated")
    assert bodies(queues.queue("bad")) == [{"a": 1}]
    done = run(stack, "post", "bad", "--key-field", "id", given='{"a": 1}\n')
    assert "line 1: is no object with a text or number in 'id'" in done.stderr
    done = run(stack, "post", "no such name", "x")
    assert done.returncode == 1
    assert "message 1: Invalid queue identification" in done.stderr


def test_a_queue_is_followed_until_ctrl_c(stack: Stack, queues: blocking.Queues) -> None:
    queue = queues.queue("followed")
    queue.post("before")
    process = subprocess.Popen(
        words(stack, "tail", "followed"), env=stack.environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        posted = 0

        def seen() -> bool:
            nonlocal posted
            queue.post(f"n{posted}\x1b[31m")
            posted += 1
            assert process.stdout is not None
            os.set_blocking(process.stdout.fileno(), False)
            return bool(process.stdout.read(1))

        wait_for(seen, END_S)
        process.send_signal(signal.SIGINT)
        os.set_blocking(process.stdout.fileno(), True)
        out, error = process.communicate(timeout=END_S)
        assert (process.returncode, error) == (130, "")
        assert "before" not in out
        assert "\x1b" not in out
    finally:
        process.kill()
        process.wait()
    done = run(stack, "tail", "followed", "--from-start", "--count", "2", "--json")
    first, second = [json.loads(line) for line in done.stdout.splitlines()]
    assert (first["body"], second["body"]) == ("before", "n0\x1b[31m")
    assert first["created_at"].endswith("Z")
    done = run(stack, "tail", "followed", "--after", first["id"], "--count", "1")
    assert done.stdout.rstrip("\n").endswith("Z  n0 [31m")


def test_what_is_drained_is_in_the_file_and_can_be_posted_again(
    stack: Stack, queues: blocking.Queues, tmp_path: Path
) -> None:
    queue = queues.queue("full")
    text = '{"big": 123456789012345678901234567890, "e": 1e5}'
    assert run(stack, "post", "full", "--json", text).returncode == 0
    queue.post_many([client.New(n, ttl=1000, key=f"k{n}") for n in range(45)])
    file = tmp_path / "drained"
    done = run(stack, "drain", "full", "--out", str(file), "--count", "30")
    assert done.stderr == "30 drained from full; 16 are left there\n"
    done = run(stack, "drain", "full", "--out", str(file))
    assert done.stderr == "16 drained from full\n"
    assert queue.stats().total == 0
    lines = file.read_text().splitlines()
    assert len(lines) == 46
    assert f'"body":{text}' in lines[0]
    done = run(stack, "post", "again", "--drained", "--file", str(file))
    assert done.stderr == "46 posted to again\n"
    found = list(queues.queue("again").messages())
    assert [message.body for message in found[1:]] == list(range(45))
    assert (found[1].key, found[1].ttl) == ("k0", 1000)
    assert run(stack, "drain", "again").stdout.count("\n") == 46


def test_what_cannot_be_written_stays_in_the_queue(
    stack: Stack, queues: blocking.Queues, tmp_path: Path
) -> None:
    queue = queues.queue("kept")
    queue.post_many([client.New(n) for n in range(5)])
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            words(stack, "drain", "kept"), env=stack.environment, stdout=full,
            stderr=subprocess.PIPE, text=True, check=False, timeout=END_S,
        )  # fmt: skip
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert bodies(queue) == list(range(5))
    torn = tmp_path / "torn"
    torn.write_bytes(b'{"id":')
    done = run(stack, "drain", "kept", "--out", str(torn))
    assert (done.returncode, "middle of a line" in done.stderr) == (1, True)
    assert queue.stats().free == 5


def test_dead_letters_are_moved_back(stack: Stack, queues: blocking.Queues) -> None:
    jobs = queues.queue("jobs")
    jobs.create({"_dead_letter_queue": "jobs-dead"})
    jobs.post_many([client.New(n) for n in range(150)])
    while True:
        with jobs.claim(limit=20) as claim:
            if not claim.messages:
                break
            claim.reject(*claim.messages, reason="not now")
    done = run(stack, "redrive", "jobs-dead", "--count", "10")
    assert (done.returncode, done.stderr) == (3, "10 moved from jobs-dead; 140 are left\n")
    done = run(stack, "redrive", "jobs-dead", "--to", "other", "--count", "5")
    assert (done.returncode, done.stderr) == (3, "5 moved from jobs-dead to other; 135 are left\n")
    done = run(stack, "redrive", "jobs-dead")
    assert (done.returncode, done.stderr) == (0, "135 moved from jobs-dead\n")
    assert jobs.stats().free == 145


def test_dead_letters_that_come_back_meanwhile_are_not_moved_again(
    stack: Stack, queues: blocking.Queues
) -> None:
    told, dead = queues.queue("told"), queues.queue("told-dead")
    told.create({"_dead_letter_queue": "told-dead"})
    told.subscribe("mailto:nobody@example.org")  # undeliverable at once: no server is named
    told.post_many([client.New(n) for n in range(150)])
    wait_for(lambda: dead.stats().total == 150)
    done = run(stack, "redrive", "told-dead")
    assert done.stderr.startswith("150 moved from told-dead")
    assert told.stats().free == 150  # what went back went to the subscriber alone


def test_queues_are_counted(stack: Stack, queues: blocking.Queues) -> None:
    queues.queue("counted").post_many([client.New(n) for n in range(3)])
    with queues.queue("counted").claim(limit=1):
        done = run(stack, "stats", "counted")
        lines = [line.split() for line in done.stdout.splitlines()]
        assert lines[0][:4] == ["queue", "free", "claimed", "total"]
        assert [line[:4] for line in lines[1:]] == [["counted", "2", "1", "3"]]
    rows = [json.loads(line) for line in run(stack, "stats", "--json").stdout.splitlines()]
    assert {"queue": "counted", "free": 3, "claimed": 0, "total": 3}.items() <= next(
        row for row in rows if row["queue"] == "counted"
    ).items()


@pytest.mark.parametrize("words", [["stats", "here"], ["drain"], ["redrive"]])
def test_a_queue_that_is_not_there_is_no_empty_one(
    stack: Stack, queues: blocking.Queues, words: list[str]
) -> None:
    queues.queue("here").create()
    done = run(stack, *words, "hree")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("transom: there is no queue 'hree' in this project; ")
    assert run(stack, words[0], "here").returncode == 0


def test_who_follows_a_queue_that_is_not_there_yet_is_told(
    stack: Stack, queues: blocking.Queues
) -> None:
    with subprocess.Popen(
        words(stack, "tail", "soon", "--count", "1"), env=stack.environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stderr.readline().startswith("transom: there is no queue 'soon' yet; ")
        queues.queue("soon").post("now")
        assert process.stdout.readline().endswith("  now\n")


def test_one_says_who_signs_in(stack: Stack) -> None:
    done = run(stack, "stats", "--os-cloud", "transom")
    assert (done.returncode, done.stdout) == (1, "")
    assert "--os-cloud and --data-dir both say who signs in" in done.stderr


def test_a_terminal_sees_a_bar_and_nobody_else_does(
    stack: Stack, queues: blocking.Queues, tmp_path: Path
) -> None:
    lines = tmp_path / "lines"
    lines.write_text(
        "line\n" * 20_000
    )  # long enough for a bar, which comes after a tenth of a second
    ours, its = pty.openpty()
    process = subprocess.Popen(
        words(stack, "post", "bar", "--file", str(lines)), env=stack.environment,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=its,
    )  # fmt: skip
    os.close(its)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:
        pass  # how a terminal says that the other end is closed
    os.close(ours)
    assert process.communicate(timeout=END_S)[0] == b""
    assert process.returncode == 0
    assert shown.endswith(b"20000 posted to bar\r\n")
    assert b"#" in shown or b"[....." in shown
    assert b"\x1b" not in run(stack, "drain", "bar", "--count", "1").stderr.encode()


def test_somebody_who_may_not_sign_in_is_told(tmp_path: Path) -> None:
    other = Stack(tmp_path / "none", {"XDG_DATA_HOME": str(tmp_path)})
    done = run(other, "stats")
    assert done.returncode == 1
    assert "clouds.yaml" in done.stderr
    environment = {**other.environment, "OS_CLOUD": "nowhere", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "transom.cli", "queue", "stats"], env=environment,
        capture_output=True, text=True, check=False, timeout=END_S,
    )  # fmt: skip
    assert "there is no cloud 'nowhere'" in done.stderr


@pytest.mark.timeout(180)
@pytest.mark.parametrize("face", ["asyncio", "blocking"])
def test_nothing_is_lost_to_a_worker_whose_server_is_killed(
    stack: Stack, face: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(stack.data / "clouds.yaml"))
    monkeypatch.setenv("OS_CLOUD", "transom")
    name, done, posted = f"survived-{face}", set[int](), set[int]()
    kills, kill_at = 0, {40, 90}

    def handle(message: client.Message) -> None:
        nonlocal kills
        done.add(message.body)
        if len(done) in kill_at:
            kill_at.discard(len(done))
            kills += 1
            os.kill(stack.role("api")["pid"], signal.SIGKILL)

    async def on_loop() -> None:
        async with client.connect() as queues:
            queue, stop = queues.queue(name), asyncio.Event()
            working = asyncio.create_task(queue.work(handle, stop=stop, at_once=4, wait=2))
            for number in range(150):
                await queue.post(number, key=str(number))
                posted.add(number)
            while done != posted or (await queue.stats()).total:
                await asyncio.sleep(0.1)
            stop.set()
            await working

    def blocked() -> None:
        with blocking.connect() as queues:
            queue = queues.queue(name)
            for number in range(150):
                queue.post(number, key=str(number))
                posted.add(number)
            while done != posted or queue.stats().total:
                queue.work(handle, at_once=4, wait=2, until_empty=True)

    if face == "asyncio":
        asyncio.run(on_loop())
    else:
        blocked()
    assert done == posted == set(range(150))
    assert kills == 2
    stack.wait_ready()
