# SPDX-License-Identifier: Apache-2.0
"""What every contender does alike: reads questions as JSON lines, answers each with its times.

    {"what": "load", "folder": ".../10000-1"}  ->  {"seconds": 0.02}

Rows are decoded to tuples of text before a clock runs, answers are compared with the true ones
after it has stopped. Garbage collection is off while rows are loaded and while a question is asked
in full, and what is there then is frozen, for all alike. Needs nothing but Python: the contenders
live in environments of their own.
"""

import ctypes
import gc
import json
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

Row = tuple[str, ...]
TABLES = ("servers", "ports", "allowed")
OPTIONAL = ("again", "select", "insert", "forbid", "what_if")
"""What a contender may be without."""


class Contender(Protocol):
    """What it cannot do it does not have.

    `again`: what `first` gave, when changes have come and gone. `insert`: of a port; gives the
    servers that are in violation by it. `forbid`: an allowed row goes; gives the servers that are
    in violation by that. `remove`, `allow`: back again, untimed. `what_if`: ports come, the servers
    in violation by them, and all is as before.
    """

    version: str

    def load(self, table: str, rows: Iterable[Row]) -> None: ...

    def loaded(self) -> None: ...

    def first(self) -> Iterable[str]: ...

    def again(self) -> Iterable[str]: ...

    def second(self) -> Iterable[Row]: ...

    def select(self, vm: str) -> Iterable[Row]: ...

    def insert(self, port: str, vm: str, net: str) -> Iterable[str]: ...

    def remove(self, port: str, vm: str, net: str) -> None: ...

    def forbid(self, tenant: str, net: str) -> Iterable[str]: ...

    def allow(self, tenant: str, net: str) -> None: ...

    def what_if(self, ports: list[Row]) -> Iterable[str]: ...


class Wrong(Exception):
    """An answer that is not the true one."""


def read(path: Path) -> Iterator[Row]:
    with path.open() as file:
        for line in file:
            yield tuple(line[:-1].split("\t"))


def pss_mb() -> float:
    """What the kernel says this process holds, shared pages in part, after unused ones went."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024


def most_mb() -> float:
    """The most that lay in memory at any time."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def spread(took_ns: list[int]) -> dict[str, float]:
    took = sorted(took_ns)
    return {
        "times": len(took),
        "p50_us": took[len(took) // 2] / 1000,
        "p99_us": took[len(took) * 99 // 100] / 1000,
        "p999_us": took[len(took) * 999 // 1000] / 1000,
        "most_us": took[-1] / 1000,
    }


def equal(found: Iterable[Any], true: Iterable[Any], what: str) -> None:
    """Both as sets, and no row twice. Raises: Wrong."""
    listed, expected = list(found), set(true)
    if len(listed) != len(expected) or set(listed) != expected:
        raise Wrong(f"{what}: {len(listed)} rows, {len(expected)} are true")


class Answers:
    """The questions that all are asked; `more` are the contender's own."""

    def __init__(self, contender: Any, more: Mapping[str, Callable[..., Any]]) -> None:
        self.contender = contender
        self.folder = Path()
        self.changes: dict[str, Any] = {}
        self._more = more

    def answer(self, what: str, **told: Any) -> Any:
        if what in self._more:
            return self._more[what](self, **told)
        if what in OPTIONAL and not hasattr(self.contender, what):
            return {"cannot": True}
        return getattr(self, what)(**told)

    def version(self) -> str:
        return str(self.contender.version)

    def load(self, folder: str) -> dict[str, float]:
        gc.disable()
        self.opened(folder)
        decoded = {table: list(read(self.folder / f"{table}.tsv")) for table in TABLES}
        began_s = time.perf_counter()
        for table in TABLES:
            self.contender.load(table, decoded.pop(table))
        self.contender.loaded()
        seconds = time.perf_counter() - began_s
        self._settle()
        return {"seconds": seconds, "most_mb": most_mb()}

    def opened(self, folder: str) -> None:
        self.folder = Path(folder)
        self.changes = json.loads((self.folder / "changes.json").read_text())

    def _settle(self) -> None:
        """A collection before would make dictionaries of plain rows untracked: their next new row
        makes them tracked again, young, and not frozen."""
        gc.freeze()
        gc.enable()

    def memory(self, folder: str) -> dict[str, float]:
        """Above the bare process; rows are decoded one by one, so what stays is the contender's.

        `load_mb`: after loading. `first_mb`: after the first question too.
        """
        self.folder = Path(folder)
        gc.collect()
        before_mb = pss_mb()
        gc.disable()
        for table in TABLES:
            self.contender.load(table, read(self.folder / f"{table}.tsv"))
        self.contender.loaded()
        self._settle()
        load_mb = pss_mb() - before_mb
        gc.disable()
        number = sum(1 for _ in self.contender.first())
        self._settle()
        first_mb = pss_mb() - before_mb
        return {"load_mb": load_mb, "first_mb": first_mb, "most_mb": most_mb(), "found": number}

    def first(self) -> dict[str, float]:
        return self._full(self.contender.first, (row[0] for row in read(self.folder / "q1.tsv")))

    def again(self) -> dict[str, float]:
        return self._full(self.contender.again, (row[0] for row in read(self.folder / "q1.tsv")))

    def second(self) -> dict[str, float]:
        return self._full(self.contender.second, read(self.folder / "q2.tsv"))

    def _full(self, ask: Callable[[], Iterable[Any]], true: Iterable[Any]) -> dict[str, float]:
        gc.disable()
        began_s = time.perf_counter()
        found = ask()
        seconds = time.perf_counter() - began_s
        self._settle()
        equal(found, true, "in full")
        return {"seconds": seconds}

    def select(self, seconds: float, most: int) -> dict[str, float]:
        took_ns = []
        for vm, true in self.some("select", seconds, most):
            began_ns = time.perf_counter_ns()
            found = self.contender.select(vm)
            took_ns.append(time.perf_counter_ns() - began_ns)
            equal(map(tuple, found), map(tuple, true), "select")
        return spread(took_ns)

    def insert(self, seconds: float, most: int) -> dict[str, float]:
        took_ns = []
        for port, vm, net in self.some("insert", seconds, most):
            began_ns = time.perf_counter_ns()
            found = self.contender.insert(port, vm, net)
            took_ns.append(time.perf_counter_ns() - began_ns)
            equal(found, [vm], "insert")
            self.contender.remove(port, vm, net)
        return spread(took_ns)

    def forbid(self, seconds: float, most: int) -> dict[str, float]:
        took_ns = []
        for tenant, net, vms in self.some("forbid", seconds, most):
            began_ns = time.perf_counter_ns()
            found = self.contender.forbid(tenant, net)
            took_ns.append(time.perf_counter_ns() - began_ns)
            equal(found, vms, "forbid")
            self.contender.allow(tenant, net)
        return spread(took_ns)

    def what_if(self, seconds: float, most: int) -> dict[str, float]:
        ports = [tuple(row) for row in self.changes["what_if"]]
        took_ns = []
        until_s = time.perf_counter() + seconds
        while len(took_ns) < most and (not took_ns or time.perf_counter() < until_s):
            began_ns = time.perf_counter_ns()
            found = self.contender.what_if(ports)
            took_ns.append(time.perf_counter_ns() - began_ns)
            equal(found, (vm for _, vm, _ in ports), "what if")
        return spread(took_ns)

    def some(self, what: str, seconds: float, most: int) -> Iterator[Any]:
        """At least one, `most` at most, and for so many seconds."""
        until_s = time.perf_counter() + seconds
        for at, change in enumerate(self.changes[what][:most]):
            if at and time.perf_counter() > until_s:
                return
            yield change


def serve(contender: Any, more: Mapping[str, Callable[..., Any]] | None = None) -> None:
    """Answers until the input ends. What goes wrong is said as the answer."""
    answers = Answers(contender, more or {})
    for line in sys.stdin:
        told = json.loads(line)
        try:
            result = {"result": answers.answer(told.pop("what"), **told)}
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(result), flush=True)
