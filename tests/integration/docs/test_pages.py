# SPDX-License-Identifier: Apache-2.0
"""The pages say what happens: their console blocks are typed into a shell, answers compared."""

from pathlib import Path

import pytest

from support.console import Shell, Step, same, steps
from support.stack import ROOT

PAGES = [
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
    if steps(path.read_text())
]

UP = ("Transom is ready in 1.7 s: http://127.0.0.1:8720  (101 MiB)", "...")

pytestmark = pytest.mark.timeout(300)


def test_pages_that_teach_are_run() -> None:
    assert {"README.md", "docs/tutorial/first-queue.md", "docs/howto/configure.md"} <= set(PAGES)


def test_no_page_that_is_run_installs_packages() -> None:
    """They would come into the environment that the tests run in; such a block is `sh`."""
    typed = [(page, step.command) for page in PAGES for step in steps((ROOT / page).read_text())]
    assert [(page, command) for page, command in typed if "pip install" in command] == []


@pytest.mark.parametrize("page", PAGES)
def test_the_page_says_what_happens(page: str, tmp_path: Path) -> None:
    wanted = steps((ROOT / page).read_text())
    with Shell(tmp_path) as shell:
        if not any(step.command.startswith("transom up") for step in wanted):
            shell.run(Step("transom up --detach", UP))
        for step in wanted:
            shell.run(step)


def test_what_differs_from_run_to_run_is_compared_by_its_form() -> None:
    assert same(("| 3 | 9f2b1c77e3f94a1bb1b52c0f9f5ad1aa |",), ["| 12 |  " + "0" * 32 + " |"])
    assert same(("a", "...", "z"), ["a", "b", "c", "z"])
    assert not same(("a", "...", "z"), ["a", "b", "c"])
    assert not same(("photo 1",), ["photo 2"])


def test_a_page_that_is_wrong_is_found(tmp_path: Path) -> None:
    with Shell(tmp_path) as shell:
        shell.run(Step("echo one", ("one",)))
        with pytest.raises(AssertionError, match="the page says"):
            shell.run(Step("echo one", ("two",)))
        with pytest.raises(AssertionError, match="the page says"):
            shell.run(Step("false", ()))
