# SPDX-License-Identifier: Apache-2.0
"""Replays the recorded language cases (`conformance/policy`) on a workspace.

Each call gives what Transom answers and what was recorded, both as values that compare: whether a
change was accepted; atoms and rules as sets of the syntax trees that their texts say.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transom.policy.datalog.engine.engine import TooMuch
from transom.policy.datalog.faults import Refused, Source
from transom.policy.datalog.language.grammar import parse
from transom.policy.datalog.language.syntax import Modal, Rule, TableName
from transom.policy.datalog.rules.changes import RuleIn, RuleOut
from transom.policy.datalog.rules.names import policy_of, table_id
from transom.policy.datalog.simulation.simulate import simulate
from transom.policy.datalog.workspace import Workspace

FOLDER = Path(__file__).parents[1] / "conformance" / "policy"
REFUSED = "refused"


@dataclass(frozen=True)
class Told:
    """One call: what Transom says, and what was recorded."""

    case: str
    call: int
    text: str
    ours: Any
    theirs: Any

    @property
    def differs(self) -> bool:
        return bool(self.ours != self.theirs)


def cases() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    with (FOLDER / "cases.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            case = json.loads(line)
            yield case["case"], case["calls"]


def replayed() -> Iterator[Told]:
    for case, calls in cases():
        engines: defaultdict[int, Replay] = defaultdict(Replay)
        for number, call in enumerate(calls):
            ours = engines[call["rt"]].answer(call)
            text = f"{call['op']} {call['args']} {call['kw']}"
            yield Told(case, number, text, ours, recorded(call))


def recorded(call: dict[str, Any]) -> Any:
    if "raises" in call:
        return REFUSED
    result = call["result"]
    if call["op"] in ("insert", "delete", "update"):
        return "accepted" if result[0] else REFUSED
    if call["op"] == "select" and isinstance(result, list):
        result = result[0]  # behind it stands the trace
    if call["op"] in ("select", "simulate", "content", "find_subpolicy"):
        return said(result)
    if call["op"] in ("tablenames", "arity"):
        return frozenset(result["set"]) if isinstance(result, dict) else result
    return "accepted"


def said(text: str) -> frozenset[Any]:
    """What a text of atoms or rules says, whatever its order."""
    return frozenset(parse(Source("", text)).statements)


def policy_name(name: str) -> str:
    """Recorded names hold blanks and hyphens, which no policy's name may."""
    return re.sub(r"\W", "_", name)


@dataclass
class Replay:
    """One recorded engine. Time is a table here, so it is a certain time."""

    workspace: Workspace = field(default_factory=Workspace)

    def __post_init__(self) -> None:
        self.workspace.tick("2016-05-01 12:00:00")

    def answer(self, call: dict[str, Any]) -> Any:
        try:
            return getattr(self, call["op"])(*call["args"], **call["kw"])
        except (Refused, TooMuch):
            return REFUSED

    def policy(self, target: str | None) -> str:
        """The one that is meant, or the only one."""
        if target is not None:
            return policy_name(target)
        (only,) = self.workspace.program.policies
        return only

    def create_policy(self, name: str, kind: str = "nonrecursive", abbr: str = "") -> str:
        self.workspace.create_policy(policy_name(name), kind)
        return "accepted"

    def persistent_create_policy(self, name: str) -> str:
        self.workspace.create_policy(name)
        return "accepted"

    def delete_policy(self, name: str, disallow_dangling_refs: bool = False) -> str:
        self.workspace.delete_policy(policy_name(name), dangling=not disallow_dangling_refs)
        return "accepted"

    def insert(self, text: str, target: str | None = None) -> str:
        self.workspace.insert(text, self.policy(target))
        return "accepted"

    def delete(self, text: str, target: str | None = None) -> str:
        self.workspace.delete(text, self.policy(target))
        return "accepted"

    def update(self, events: list[dict[str, Any]]) -> str:
        changes = []
        for text, comes, target in (event["event"] for event in events):
            kind = RuleIn if comes else RuleOut
            policy = self.policy(target)
            changes += [kind(policy, rule) for rule in self.workspace.rules_of(text)]
        self.workspace.change(changes)
        return "accepted"

    def initialize_tables(self, tables: list[str], facts: list[dict[str, Any]]) -> str:
        """The rows of the facts' tables are these; tables without facts are empty."""
        policy = self.policy(None)
        rows: dict[str, list[list[Any]]] = {f"{policy}:{table}": [] for table in tables}
        for table, row in (fact["fact"] for fact in facts):
            rows.setdefault(f"{policy}:{table}", []).append(row)
        self.workspace.load(rows)
        return "accepted"

    def select(self, text: str, target: str | None = None, trace: bool = False) -> Any:
        answer = self.workspace.select(text, self.policy(target))
        return said(" ".join(answer.texts()))

    def simulate(
        self, query: str, theory: str, sequence: str, actions: str, delta: bool = False
    ) -> Any:
        found = simulate(
            self.workspace,
            query,
            policy_name(theory),
            sequence,
            policy_name(actions),
            delta=delta,
        )
        return said(" ".join(found.texts))

    def content(self, target: str | None = None) -> Any:
        return said(self.workspace.content(self.policy(target)))

    def find_subpolicy(self, *arguments: Any) -> str:
        return "nothing like it"

    def arity(self, table: str, policy: str, modal: str | None = None) -> int | None:
        owner, _, name = table.rpartition(":")
        atom = TableName(owner or None, name)
        width = self.workspace.program.width(table_id(policy, atom, modal and Modal(modal)))
        return width and width.columns

    def tablenames(
        self,
        body_only: bool = False,
        include_builtin: bool = False,
        theory_name: str | None = None,
        include_modal: bool = True,
    ) -> frozenset[str]:
        program = self.workspace.program
        found: set[str] = set()
        for policy in program.policies:
            if theory_name in (None, policy):
                for entry in program.rules(policy):
                    found |= names(entry.rule, body_only, include_builtin, include_modal)
                tables = program.facts if not body_only else ()
                found |= {name.partition(":")[2] for name in tables if policy_of(name) == policy}
        return frozenset(found)


def names(rule: Rule, body_only: bool, builtin: bool, modal: bool) -> set[str]:
    heads = [literal.atom for literal in rule.heads if modal or literal.atom.modal is None]
    body = [literal.atom for literal in rule.body]
    return {
        str(atom.name)
        for atom in (body if body_only else heads + body)
        if builtin or str(atom.name) != "equal"
    }
