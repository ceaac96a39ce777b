# SPDX-License-Identifier: Apache-2.0
"""`transom policy simulate`: what would be if, and nothing is changed."""

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from transom.cli.policy_files import Rules, material, read_input, read_text, rules_in
from transom.cli.policy_world import (
    absences,
    clock,
    faults_told,
    mode_of,
    refuse_waiting,
    warn,
    workspace,
)
from transom.policy.datalog.cases.facts import BadFacts
from transom.policy.datalog.cases.loading import sources_of
from transom.policy.datalog.core import TableId
from transom.policy.datalog.engine.tables import Delta
from transom.policy.datalog.faults import one_line
from transom.policy.datalog.language.syntax import Modal
from transom.policy.datalog.questions import fact_text
from transom.policy.datalog.rules.changes import Change, PolicyIn, RuleIn
from transom.policy.datalog.rules.names import atom_of
from transom.policy.datalog.rules.program import Kind
from transom.policy.datalog.simulation.simulate import Simulation, simulate
from transom.policy.datalog.values import decoded_row, row_order
from transom.policy.datalog.workspace import Workspace


@faults_told
def simulated(options: argparse.Namespace) -> int:
    found = material(options.path, warn)
    made = workspace(found, mode_of(options.strict), warn, options.time or clock())
    refuse_waiting(made)
    policy = options.policy or found.own
    if not policy:
        raise BadFacts("there are several policies; say with --policy which one asks")
    actions = rules_in(options.actions) if options.actions else None
    if actions is not None:
        made.create_policy(actions.policy, Kind.ACTION)
        made.insert(actions.text.text, actions.policy, actions.text.name)
    told = simulate(
        made,
        options.query,
        policy,
        _sequence(options.sequence),
        None if actions is None else actions.policy,
        delta=options.delta,
        trace=options.trace,
        changes=_added(made, [rules_in(path) for path in options.add]),
    )
    if options.json:
        print(json.dumps(as_object(told), indent=2))
    else:
        for line in as_lines(told, made, policy):
            print(line)
    lacks = absences(made, (table for table, _ in told.completeness.of), "--time")
    for text in lacks:
        warn(text)
    return 0


def _sequence(text: str) -> str:
    """As it is, or of a file, `@FILE`; `@-`: standard input."""
    if not text.startswith("@"):
        return text
    return read_input() if text == "@-" else read_text(Path(text[1:]))


def _added(made: Workspace, files: Iterable[Rules]) -> list[Change]:
    changes: list[Change] = []
    policies = dict(made.program.policies)
    for rules in files:
        if rules.policy not in policies:
            policies[rules.policy] = Kind.NONRECURSIVE
            changes.append(PolicyIn(rules.policy))
        texts = made.rules_of(rules.text.text, rules.text.name)
        changes += (RuleIn(rules.policy, rule) for rule in texts)
    return [*sources_of(changes, made.program), *changes]


def as_lines(told: Simulation, made: Workspace, policy: str) -> Iterator[str]:
    """The trace, the answer, what else changes, and what would be done."""
    yield from told.trace.splitlines()
    yield from told.texts
    count = len(told.texts)
    yield f"({count or 'no'} row{'s' * (count != 1)})"
    changes = list(_changes(told.net, made, policy))
    if changes:
        yield "would come and go:"
        yield from changes
    if told.actions:
        yield "would be executed:"
        for table, row in told.actions:
            yield f"  {fact_text(atom_of(table, policy), row, made.program.mode)}"
    for note in told.notes:
        yield f"note: {one_line(note)}"
    for diagnostic in told.diagnostics:
        _, text = diagnostic.seen.examples[0]
        yield f"failed: {diagnostic.rule}, literal {diagnostic.place + 1}: {text}"


def _changes(net: Mapping[TableId, Delta], made: Workspace, policy: str) -> Iterator[str]:
    """Of tables that are not a source's; actions are told by themselves."""
    for table in sorted(net):
        head = atom_of(table, policy)
        if not made.program.is_filled(table) and head.modal is not Modal.EXECUTE:
            for row in sorted(net[table], key=row_order):
                sign = "+" if net[table][row] > 0 else "-"
                yield f"  {sign} {fact_text(head, row, made.program.mode)}"


def as_object(told: Simulation) -> dict[str, Any]:
    return {
        "answer": list(told.texts),
        "changes": {
            table: {
                "came": _rows(told.net[table], 1),
                "went": _rows(told.net[table], -1),
            }
            for table in sorted(told.net)
        },
        "violations": sorted(told.violations),
        "actions": [{"table": table, "row": decoded_row(row)} for table, row in told.actions],
        "complete": told.completeness.complete,
        "notes": [one_line(note) for note in told.notes],
        "trace": told.trace.splitlines(),
    }


def _rows(delta: Delta, weight: int) -> list[tuple[Any, ...]]:
    found = sorted((row for row in delta if delta[row] == weight), key=row_order)
    return [decoded_row(row) for row in found]
