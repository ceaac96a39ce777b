# SPDX-License-Identifier: Apache-2.0
"""Which branches of the pure rooms their own unit tests leave untried.

The tests are those below tests/unit that import a pure room and nothing that does I/O, but for
configuration and shapes; properties (hypothesis) are left out, so that the answer is the same each
time. That takes seconds, so it is asked with every change.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tidy.rules import is_pure
from tidy.source import Module, load

BESIDE = {"config", "api", "errors"}
"""Rooms that a test of a pure room may import too."""
SETTINGS = """
[run]
branch = true
source = {source}
omit =
    {omit}
[report]
exclude_also =
    {excluded}
"""
EXCLUDED = (r"assert_never\(", r"^\s*\.\.\.$", "if TYPE_CHECKING:")


def pure_tests(tests: Path, modules: dict[str, Module]) -> Iterator[Path]:
    """The unit tests of pure rooms alone."""
    for path in sorted(tests.rglob("test_*.py")):
        imports = Module(path.stem, path, path.read_text("utf-8"), is_package=False).imports
        found = [modules[one.name] for one in imports if one.name in modules]
        pure = [module for module in found if is_pure(module)]
        others = [module for module in found if not is_pure(module) and not module.is_package]
        if pure and all(BESIDE & set(module.parts) for module in others):
            yield path


def untried(source: Path, tests: list[Path], work: Path) -> list[str]:
    """Lines and branches of pure rooms below `source` that `tests` do not run: `file:line`.

    Raises: AssertionError if a test fails.
    """
    omit = [str(module.path) for module in load(source).values() if not is_pure(module)]
    settings = work / "coverage.ini"
    texts = {"source": source, "omit": "\n    ".join(omit), "excluded": "\n    ".join(EXCLUDED)}
    settings.write_text(SETTINGS.format(**texts))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")},
        "COVERAGE_FILE": str(work / "data"),
        "PYTHONPATH": os.pathsep.join([str(source.parent), os.environ.get("PYTHONPATH", "")]),
    }
    coverage = [sys.executable, "-m", "coverage"]
    words = ["-q", "-p", "no:cacheprovider", "-m", "not hypothesis", *map(str, tests)]
    for command in (
        [*coverage, "run", f"--rcfile={settings}", "-m", "pytest", *words],
        [*coverage, "json", f"--rcfile={settings}", "-q", "-o", str(work / "found.json")],
    ):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    files = json.loads((work / "found.json").read_text())["files"]
    return [
        f"{name}:{line}"
        for name, file in sorted(files.items())
        for line in sorted({*file["missing_lines"], *(at for at, _ in file["missing_branches"])})
    ]
