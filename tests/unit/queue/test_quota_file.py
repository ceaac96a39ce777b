"""The file of projects whose limits are not the usual ones."""

import os
from pathlib import Path

import pytest

from transom.errors import ConfigError
from transom.queue.app.quota_file import QuotaFile, parsed
from transom.queue.logic.quota import Limits, Quotas

USUAL = Limits(10, 0, 100, 5)


def test_a_project_of_the_file_has_its_limits_and_else_the_usual_ones() -> None:
    found = parsed("abc: {queues: 7, messages: 50}\n'007':\n  bytes: 0\n", USUAL)
    assert found == {"abc": Limits(7, 50, 100, 5), "007": Limits(10, 0, 0, 5)}
    assert parsed("# nothing\n", USUAL) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a", "no `name: value` in line 1"),
        ("a: 5", "no `name: value` in line 1"),
        ("a: {queue: 5}", "'queue' of project 'a' that is none of queues, messages"),
        ("a: {queues: -1}", "'queues' of project 'a' in line 1: write a whole number"),
        ("a: {queues: [1]}", "write a whole number"),
        ("a: {queues: 99999999999999999999}", "write a whole number"),
        ("a: {queues: 1, queues: 2}", "'queues' of project 'a' twice"),
        ("a: {queues: 1}\na: {queues: 2}", "project 'a' twice"),
        ("a: {", "is no YAML"),
        ("[" * 5000, "is n"),
    ],
)
def test_a_file_that_cannot_be_understood_whole_says_where(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parsed(text, USUAL)


async def test_a_changed_file_is_taken_once_it_stays_and_a_broken_one_changes_nothing(
    tmp_path: Path,
) -> None:
    path, quotas = tmp_path / "queue.yaml", Quotas(USUAL)
    file = QuotaFile(path, quotas)
    await file.start()
    assert quotas.of("a") == USUAL

    async def write(text: str | None) -> None:
        if text is None:
            path.unlink()
        else:
            path.with_suffix(".new").write_text(text)
            os.replace(path.with_suffix(".new"), path)
        await file.look(path)
        await file.look(path)

    path.write_text("a: {queues: 3}")
    await file.look(path)
    assert quotas.of("a") == USUAL  # perhaps it is still being written
    await file.look(path)
    assert (quotas.of("a").queues, quotas.of("b")) == (3, USUAL)
    await write("a: {queues: three}")
    assert quotas.of("a").queues == 3
    assert "whole number" in file.problem
    await write("a: {messages: 4}")
    assert (quotas.of("a"), file.problem) == (Limits(10, 4, 100, 5), "")
    await write(None)
    assert quotas.of("a") == USUAL
    await file.stop()


async def test_a_broken_file_is_told_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "queue.yaml"
    path.write_text("a: nothing")
    with pytest.raises(ConfigError, match=r"queue\.yaml"):
        await QuotaFile(path, Quotas(USUAL)).start()
