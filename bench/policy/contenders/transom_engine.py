# SPDX-License-Identifier: Apache-2.0
"""Ours: rules are transactions, and what they say is kept true from then on.

Beyond what all are asked: `ask`, `explain`, `why_not`, `touched`, `add`, `door`, `index`, `pauses`.
"""

import asyncio
import gc
import itertools
import json
import sys
import time
from array import array
from collections import deque
from collections.abc import Generator, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

from answering import Answers, Row, equal, pss_mb, read, serve, spread

import transom
from transom.policy.datalog.builtins import BUILTINS
from transom.policy.datalog.core import Call, CoreRule, CoreTerm, Match, TableId
from transom.policy.datalog.engine.engine import Engine
from transom.policy.datalog.engine.tables import Table
from transom.policy.datalog.language.syntax import Constant, Variable
from transom.policy.datalog.values import encoded_row
from transom.policy.datalog.workspace import Workspace
from transom.runtime.garbage import loading

SERVERS, PORTS, ALLOWED = TableId("cloud:servers"), TableId("cloud:ports"), TableId("cloud:allowed")
ERROR, BRIDGED = TableId("audit:error"), TableId("audit:bridged")
KEPT = 10_000
"""So many decoded messages are still held by something in a process that does other work too."""


def match(table: TableId, *names: str, negated: bool = False, place: int) -> Match:
    return Match(table, tuple(map(Variable, names)), negated, place)


def rule(head: TableId, arguments: tuple[CoreTerm, ...], *body: Match | Call) -> CoreRule:
    return CoreRule(f"a rule of {head}", head, arguments, body)


VM, TENANT = Variable("vm"), Variable("tenant")
OF_SERVER = match(SERVERS, "vm", "tenant", place=0)
OF_PORT = match(PORTS, "port", "vm", "net", place=1)
FIRST = rule(
    ERROR, (VM,), OF_SERVER, OF_PORT, match(ALLOWED, "tenant", "net", negated=True, place=2)
)
SECOND = rule(
    BRIDGED, (VM, TENANT), OF_SERVER, OF_PORT, match(PORTS, "second", "vm", "other", place=2),
    Call(BUILTINS["equal"], (Variable("net"), Variable("other")), negated=True, place=3),
)  # fmt: skip
ON_TOP = rule(
    TableId("audit:owner"), (TENANT,), match(ERROR, "vm", place=0),
    match(SERVERS, "vm", "tenant", place=1),
)  # fmt: skip


def of_tenant(tenant: str) -> CoreRule:
    """Its servers: a rule that looks at few rows."""
    return rule(
        TableId("audit:mine"), (VM,), Match(SERVERS, (VM, Constant(tenant)), place=0),
        match(PORTS, "port", "vm", "net", place=1),
    )  # fmt: skip


COLUMNS = {
    "servers": ["vm", "tenant"], "ports": ["port", "vm", "net"], "allowed": ["tenant", "net"],
}  # fmt: skip
TEXT = """
error(vm) :- cloud:servers(vm, tenant), cloud:ports(port, vm, net), not cloud:allowed(tenant, net)
"""
RULES = {"first": FIRST, "second": SECOND, "on top": ON_TOP}


class Transom:
    version = f"transom {transom.__version__}"

    def __init__(self) -> None:
        self.engine = Engine()

    def load(self, table: str, rows: Iterable[Row]) -> None:
        with loading():
            self.engine.transact({TableId(f"cloud:{table}"): {encoded_row(row): 1 for row in rows}})

    def loaded(self) -> None:
        self.engine.forget()

    def first(self) -> list[str]:
        with loading():
            self.engine.transact(added=[FIRST])
        return self.again()

    def again(self) -> list[str]:
        return [row[0] for row in self.engine.rows(ERROR)]  # type: ignore[misc]

    def second(self) -> list[Any]:
        with loading():
            self.engine.transact(added=[SECOND])
        return list(self.engine.rows(BRIDGED))

    def select(self, vm: str) -> list[Any]:
        return [(row[0], row[2]) for row in self.engine.find(PORTS, {1: vm})]

    def _changed(self, table: TableId, row: Row, count: int) -> list[Any]:
        net = self.engine.transact({table: {row: count}})
        return [row[0] for row in net.get(ERROR, ())]

    def insert(self, port: str, vm: str, net: str) -> list[str]:
        return self._changed(PORTS, (port, vm, net), 1)

    def remove(self, port: str, vm: str, net: str) -> None:
        self._changed(PORTS, (port, vm, net), -1)

    def forbid(self, tenant: str, net: str) -> list[str]:
        return self._changed(ALLOWED, (tenant, net), -1)

    def allow(self, tenant: str, net: str) -> None:
        self._changed(ALLOWED, (tenant, net), 1)

    def what_if(self, ports: list[Row]) -> list[Any]:
        with self.engine.trial():
            net = self.engine.transact({PORTS: dict.fromkeys(ports, 1)})
        return [row[0] for row in net[ERROR]]


def sliced(steps: Generator[None, None, Any]) -> tuple[Any, dict[str, float]]:
    """What the slices give at the end, and how long they were."""
    longest_s, number = 0.0, 0
    began_s = before_s = time.perf_counter()
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            now_s = time.perf_counter()
            longest_s = max(longest_s, now_s - before_s)
            return ended.value, {
                "seconds": now_s - began_s, "slices": number + 1, "longest_ms": longest_s * 1000,
            }  # fmt: skip
        now_s = time.perf_counter()
        longest_s, before_s, number = max(longest_s, now_s - before_s), now_s, number + 1


def ask(answers: Answers) -> dict[str, float]:
    """The first question unbound, without a rule of it, in slices."""
    found, told = sliced(answers.contender.engine.asking(FIRST))
    equal((row[0] for row in found), (row[0] for row in read(answers.folder / "q1.tsv")), "ask")
    return told


def explain(answers: Answers, most: int) -> dict[str, float]:
    """All derivations of a row."""
    engine = answers.contender.engine
    took_ns = []
    for row in list(engine.rows(ERROR))[:most]:
        began_ns = time.perf_counter_ns()
        found = [one for one in engine.derivations(FIRST.name, row) if one is not None]
        took_ns.append(time.perf_counter_ns() - began_ns)
        assert found
        assert all(one.rows[0][2][0] == row[0] for one in found)
    return spread(took_ns)


def why_not(answers: Answers, most: int) -> dict[str, float]:
    """The literal that fails, of a server that is all right."""
    took_ns = []
    for vm, ports in answers.changes["select"][:most]:
        began_ns = time.perf_counter_ns()
        failing, _ = sliced(answers.contender.engine.failing(FIRST.name, (vm,)))
        took_ns.append(time.perf_counter_ns() - began_ns)
        assert failing is not None
        assert failing.place == (2 if ports else 1)
    return spread(took_ns)


def touched(answers: Answers, change: str, most: int) -> list[dict[str, int]]:
    """What a change costs where machine and load don't matter: rows that the engine looked at, by
    its own meter; lines of Python executed, in which a walk through a table would show whatever
    the meter says; and the violations that came of it."""
    contender = answers.contender
    found = []
    lines = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    for words in answers.changes[change][:most]:
        if change == "insert":
            row, do, undo = tuple(words), contender.insert, contender.remove
        else:
            row, do, undo = tuple(words[:2]), contender.forbid, contender.allow
        lines, before = 0, contender.engine.touched
        sys.settrace(trace)
        came = do(*row)
        sys.settrace(None)
        looked_at = contender.engine.touched - before
        found.append({"touched": looked_at, "lines": lines, "violations": len(came)})
        undo(*row)
    return found


def add(answers: Answers, which: str) -> dict[str, float]:
    """A rule comes, in slices, and goes again at once."""
    engine = answers.contender.engine
    tenant = next(read(answers.folder / "servers.tsv"))[1]
    new = RULES.get(which) or of_tenant(tenant)
    with loading():
        net, told = sliced(engine.transacting(added=[new]))
    began_s = time.perf_counter()
    engine.transact(removed=[new.name])
    told["removed_s"] = time.perf_counter() - began_s
    return {**told, "rows": len(net[new.head])}


def door(answers: Answers, folder: str, seconds: float) -> dict[str, Any]:
    """The same by a workspace: rows that are to be all rows of their tables, the rule as a text,
    one port after the other as a change that is checked."""
    answers.opened(folder)
    workspace = Workspace()
    workspace.set_schema("cloud", COLUMNS, complete=True)
    decoded = {f"cloud:{table}": list(read(answers.folder / f"{table}.tsv")) for table in COLUMNS}
    times_s = [time.perf_counter()]
    with loading():
        workspace.load(decoded)
        times_s.append(time.perf_counter())
        workspace.create_policy("audit")
        workspace.insert(TEXT, "audit")
    times_s.append(time.perf_counter())
    del decoded
    true = (row[0] for row in read(answers.folder / "q1.tsv"))
    equal((row[0] for row in workspace.engine.rows(ERROR)), true, "by the door")
    took_ns = []
    for port, vm, net in answers.some("insert", seconds, len(answers.changes["insert"])):
        row = (port, vm, net)
        began_ns = time.perf_counter_ns()
        found = workspace.update({PORTS: {row: 1}}).net
        took_ns.append(time.perf_counter_ns() - began_ns)
        assert found[ERROR] == {(vm,): 1}
        workspace.update({PORTS: {row: -1}})
    load_s, first_s = times_s[1] - times_s[0], times_s[2] - times_s[1]
    return {**spread(took_ns), "load_s": load_s, "first_s": first_s}


def index(answers: Answers, folder: str) -> dict[str, float]:
    """What the index of ports by server takes, and what one would with a set for each key."""
    ports = Table(PORTS)
    ports.absorb({encoded_row(row): 1 for row in read(Path(folder) / "ports.tsv")})
    gc.collect()
    before_mb = pss_mb()
    deque(ports.acquire((1,)), maxlen=0)
    told = {"index_mb": pss_mb() - before_mb}
    before_mb = pss_mb()
    sets: dict[Any, set[Any]] = {}
    for row in ports.counts:
        sets.setdefault(row[1], set()).add(row)
    told["sets_mb"] = pss_mb() - before_mb
    return told


class Turns:
    """A loop that takes one message a turn; how long its turns were, and what collections took."""

    def __init__(self, engine: Engine | None, messages: Iterable[str]) -> None:
        self._engine = engine
        self._messages = itertools.cycle(messages)
        self._held: deque[Any] = deque(maxlen=KEPT)
        self._collecting_ns = 0
        self.turns_ns = array("q")  # a list would have to be walked by each collection
        self.collections_ms: dict[int, list[float]] = {0: [], 1: [], 2: []}

    def _collects(self, phase: str, about: dict[str, int]) -> None:
        now_ns = time.perf_counter_ns()
        if phase == "start":
            self._collecting_ns = now_ns
        else:
            took_ms = (now_ns - self._collecting_ns) / 1e6
            self.collections_ms[about["generation"]].append(took_ms)

    def _take(self) -> None:
        message = json.loads(next(self._messages))
        self._held.append(message)
        if self._engine is not None:
            self._engine.transact({PORTS: {encoded_row(message["row"]): message["count"]}})

    async def run(self, seconds: float) -> None:
        gc.callbacks.append(self._collects)
        before_ns = time.perf_counter_ns()
        until_ns = before_ns + int(seconds * 1e9)
        while before_ns < until_ns:
            self._take()
            await asyncio.sleep(0)
            now_ns = time.perf_counter_ns()
            self.turns_ns.append(now_ns - before_ns)
            before_ns = now_ns
        gc.callbacks.remove(self._collects)

    def told(self) -> dict[str, Any]:
        collections = {
            str(generation): {"times": len(took), "longest_ms": max(took, default=0.0)}
            for generation, took in self.collections_ms.items()
        }
        return {**spread(list(self.turns_ns)), "collections": collections}


def pauses(answers: Answers, seconds: float) -> dict[str, Any]:
    """Of a loop with one changed row each turn; of the same loop without an engine; and what a full
    collection takes with all that is loaded frozen, and without."""
    ports = answers.changes["insert"]
    messages = [
        json.dumps(
            {"table": PORTS, "count": count, "row": row, "of": {"source": "a", "number": at}}
        )
        for at, row in enumerate(ports)
        for count in (1, -1)
    ]
    told = {}
    for name, engine in (("bare", None), ("engine", answers.contender.engine)):
        turns = Turns(engine, messages)
        asyncio.run(turns.run(seconds))
        told[name] = turns.told()
    for name in ("frozen", "unfrozen"):
        if name == "unfrozen":
            gc.unfreeze()
        began_s = time.perf_counter()
        gc.collect()
        told[f"full_collection_{name}_ms"] = (time.perf_counter() - began_s) * 1000
    return told


serve(
    Transom(),
    {
        "ask": ask, "explain": explain, "why_not": why_not, "touched": touched,
        "add": add, "door": door, "index": index, "pauses": pauses,
    },
)  # fmt: skip
