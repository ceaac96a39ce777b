# SPDX-License-Identifier: Apache-2.0
"""Every branch of the pure rooms is tried by their own tests, and an untried one is found."""

from pathlib import Path

from tidy.branches import pure_tests, untried
from tidy.source import load

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "transom"


def test_every_branch_of_the_pure_rooms_is_tried(tmp_path: Path) -> None:
    tests = list(pure_tests(ROOT / "tests" / "unit", load(PACKAGE)))
    found = untried(PACKAGE, tests, tmp_path)
    assert not found, "untried by unit tests of pure rooms alone:\n" + "\n".join(found)


LOGIC = """
def sign(n):
    if n > 0:
        return 1
    return -1


def size(n):
    if n > 0:
        n += 1
    return n


def same(n):
    return n
"""
TEST = """
from transom.queue.logic.numbers import same, sign, size


def test_them():
    assert (same(1), sign(1), size(1)) == (1, 1, 2)
"""


def test_an_untried_line_and_an_untried_branch_are_found(tmp_path: Path) -> None:
    package = tmp_path / "transom"
    files = {
        "transom/queue/logic/numbers.py": LOGIC,
        "transom/queue/store.py": "import sqlite3\n",
        "tests/test_numbers.py": TEST,
        "tests/test_store.py": "from transom.queue import store\nimport transom.queue.logic\n",
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    for folder in ("transom", "transom/queue", "transom/queue/logic"):
        (tmp_path / folder / "__init__.py").write_text("")
    tests = list(pure_tests(tmp_path / "tests", load(package)))
    assert [path.name for path in tests] == ["test_numbers.py"]
    found = untried(package, tests, tmp_path)
    assert [line.rpartition(":")[2] for line in found] == ["3", "5", "9"]
