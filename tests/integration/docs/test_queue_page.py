# SPDX-License-Identifier: Apache-2.0
"""The programs of docs/howto/work-through-a-queue.md do what the page says."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from transom.queue.client import New, blocking

from support.stack import ROOT, Stack, running

PAGE = (ROOT / "docs/howto/work-through-a-queue.md").read_text()
RUN_S = 60


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("page") / "data") as stack:
        stack.environment["OS_CLIENT_CONFIG_FILE"] = str(stack.data / "clouds.yaml")
        stack.environment["OS_CLOUD"] = "transom"
        yield stack


@pytest.fixture(scope="module")
def programs() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", PAGE, re.S | re.M)


def start(stack: Stack, program: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", program], env=stack.environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_the_blocking_program_prints_what_the_page_says(stack: Stack, programs: list[str]) -> None:
    printed, error = start(stack, programs[1]).communicate(timeout=RUN_S)
    assert (printed, error) == (re.findall(r"^```\n(did .*?)^```$", PAGE, re.S | re.M)[0], "")


def test_the_worker_does_what_comes_until_it_is_told_to_stop(
    stack: Stack, programs: list[str]
) -> None:
    worker = start(stack, programs[0])
    try:
        with blocking.connect("transom", config_file=str(stack.data / "clouds.yaml")) as queues:
            photos = queues.queue("photos")
            photos.update({"_dead_letter_queue": "photos-dead"})
            photos.post_many([New(one) for one in (7, "hill", "sea")])
            assert worker.stdout is not None
            assert {worker.stdout.readline() for _ in range(2)} == {"did hill\n", "did sea\n"}
            worker.send_signal(signal.SIGTERM)
            assert worker.communicate(timeout=RUN_S)[0] == ""
            assert worker.returncode == 0
            dead = [message.dead_letter for message in queues.queue("photos-dead").messages()]
            assert [one.text for one in dead if one is not None] == ["a photo has a name"]
    finally:
        worker.kill()
        worker.wait()


def test_there_are_two_programs(programs: list[str]) -> None:
    assert len(programs) == 2
