# SPDX-License-Identifier: Apache-2.0
"""Contenders as processes, asked one question after the other, each with a limit.

with Process(OURS) as ours:
    ours.ask("load", folder=str(cloud.written(10_000)))["seconds"]
"""

import json
import os
import selectors
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "contenders"
LIMIT_S = 120.0


class TooSlow(Exception):
    """A question took over the limit; the process is gone."""


@dataclass(frozen=True)
class Kind:
    """A contender: its program and the environment that it runs in. `keeps`: how it is asked about
    a change."""

    name: str
    program: str
    keeps: str
    python: Path = ROOT / ".cache" / "datalog" / "bin" / "python"
    variables: dict[str, str] = field(default_factory=dict)


OURS = Kind(
    "transom", "transom_engine.py", "every row of every rule, with derivation counts",
    Path(sys.executable), {"PYTHONPATH": str(ROOT / "src")},
)  # fmt: skip
SQLITE = Kind("SQLite", "sqlite_rows.py", "nothing; SQL written for each kind of change")
DUCKDB = Kind("DuckDB", "duckdb_rows.py", "nothing; SQL written for each kind of change")
POLARS = Kind("Polars", "polars_frames.py", "nothing; joins written for each kind of change")
CLINGO = Kind("clingo", "clingo_grounds.py", "what was grounded; a rule written for each new port")
REGORUS = Kind("regorus", "regorus_rego.py", "nothing; the changed object is asked about")
PYDATALOG = Kind("pyDatalog", "pydatalog_asks.py", "nothing; the changed server is asked about")
PEERS = (SQLITE, DUCKDB, POLARS, CLINGO, REGORUS, PYDATALOG)


class Process:
    def __init__(self, kind: Kind) -> None:
        bare = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        self._name = kind.name
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [str(kind.python), "-W", "ignore", str(PROGRAMS / kind.program)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, text=True,
            env={**bare, **kind.variables},
        )  # fmt: skip

    def ask(self, what: str, limit_s: float = LIMIT_S, **told: Any) -> Any:
        """Raises: TooSlow; RuntimeError if the contender fails."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"what": what, **told}) + "\n")
        process.stdin.flush()
        with selectors.DefaultSelector() as waiting:
            waiting.register(process.stdout, selectors.EVENT_READ)
            if not waiting.select(limit_s):
                process.kill()
                raise TooSlow(f"{what}: over {limit_s:.0f} s")
        line = process.stdout.readline()
        if not line:
            self._said.seek(0)
            said = self._said.read()[-2000:]
            raise RuntimeError(f"{self._name}, {what}: ended with {process.wait(10)}: {said}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{self._name}, {what}: {answer['error']}")
        return answer["result"]

    def __enter__(self) -> "Process":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait(10)
        for stream in (self._process.stdin, self._process.stdout, self._said):
            assert stream is not None
            stream.close()
