# SPDX-License-Identifier: Apache-2.0
"""What the `transom policy` commands share: files to a workspace, faults to a person."""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import wraps
from itertools import islice
from typing import Final, TextIO

from transom.cli.policy_files import Material, Warn, read_facts
from transom.policy.datalog.cases.facts import BadFacts
from transom.policy.datalog.cases.loading import Loader
from transom.policy.datalog.core import TableId
from transom.policy.datalog.faults import Fault, Refused, Severity, Source
from transom.policy.datalog.language.grammar import parse_atom
from transom.policy.datalog.language.rendering import rendered_all
from transom.policy.datalog.language.syntax import Mode
from transom.policy.datalog.rules.names import TIME_POLICY, meant, policy_of
from transom.policy.datalog.rules.program import Program
from transom.policy.datalog.states import State
from transom.policy.datalog.workspace import Workspace

Command = Callable[..., int]
SCHEMA_HINT: Final = "say them in schema.yaml"


def workspace(found: Material, mode: Mode, warn: Warn, time: str = "") -> Workspace:
    """Raises: BadFacts; Refused."""
    loader = _declared(found, mode)
    if time:
        loader.workspace.tick(time)
    for path in found.facts:
        for facts in read_facts(path, warn):
            loader.facts(facts)
    loader.rules((rules.policy, rules.text) for rules in found.rules)
    for doubt in loader.doubts():
        warn(doubt)
    return loader.workspace


def refuse_waiting(made: Workspace) -> None:
    """Raises: Refused if a rule is not in force, since nobody says the columns that it names."""
    waiting = [fault for entry in made.program.entries.values() for fault in entry.faults]
    if waiting:
        raise Refused([replace(fault, hint=fault.hint or SCHEMA_HINT) for fault in waiting])


def absences(made: Workspace, tables: Iterable[TableId], time_hint: str) -> list[str]:
    """What answers about these tables lack: tables that nobody fills."""
    found = made.states.completeness_of(made.program, dict.fromkeys(tables)).of
    lacking = [table for table, state in found if state.state is not State.LIVE]
    texts = [
        f"nothing fills {table}; it counts as empty{_near(made.program, table)}"
        for table in lacking
        if policy_of(table) != TIME_POLICY
    ]
    unmade = [table for table, _ in found if _is_unmade(made.program, table)]
    untimely = len(texts) < len(lacking)
    texts += [
        f"nothing makes {table}; it counts as empty{_near(made.program, table)}" for table in unmade
    ]
    if untimely:
        texts.append(f"rules read the time, and nobody says it: {time_hint}")
    return texts


def _is_unmade(program: Program, table: TableId) -> bool:
    """Of a policy, not of a source."""
    made = (program.heads, program.facts, program.inputs)
    return not program.is_filled(table) and all(table not in tables for tables in made)


def _near(program: Program, table: TableId) -> str:
    """Of a name that no schema has, the one that was meant."""
    if program.columns(table) is not None:
        return ""
    policy, _, name = table.partition(":")
    others = {other.partition(":")[2] for other in program.tables(policy)} - {name}
    hint = meant(name, sorted(others))
    return hint and f"; {hint}"


def known_columns(found: Material, mode: Mode) -> Loader:
    """A workspace without rules, and of facts what columns they have. Raises: BadFacts; Refused."""
    loader = _declared(found, mode)
    for path in found.facts:
        for facts in read_facts(path, lambda _: None):
            loader.facts(replace(facts, rows=islice(facts.rows, 1)))
    return loader


def _declared(found: Material, mode: Mode) -> Loader:
    loader = Loader(Workspace(mode))
    loader.policies(rules.policy for rules in found.rules)
    loader.declare(found.schema)
    return loader


def policy_of_atom(found: Material, atom: str) -> str:
    """Whose an atom is: the policy at hand's, or the one it names. Raises: BadFacts; Refused."""
    if found.own:
        return found.own
    policy = parse_atom(Source("atom", atom)).name.policy
    if policy is None:
        names = ", ".join(dict.fromkeys(rules.policy for rules in found.rules)) or "none"
        raise BadFacts(f"say whose table it is, as in `policy:{atom}`; policies are {names}")
    return policy


def clock() -> str:
    """Now, as rules see it."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")


def mode_of(strict: bool) -> Mode:
    return Mode.STRICT if strict else Mode.COMPATIBLE


def warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def faults_told(command: Command) -> Command:
    """The command; if a text is refused, its faults are shown with their lines, and status is 1."""

    @wraps(command)
    def told(*arguments: object) -> int:
        try:
            return command(*arguments)
        except Refused as refused:
            tell_faults(refused.faults, sys.stderr)
            return 1

    return told


def tell_faults(faults: Sequence[Fault], file: TextIO) -> None:
    file.write(rendered_all(faults, colour=wants_colour(file)))


def wants_colour(file: TextIO) -> bool:
    return file.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def fault_object(fault: Fault) -> dict[str, object]:
    """A fault for programs."""
    line, column = fault.span.source.line_column(fault.span.start)
    return {
        "file": fault.span.source.name,
        "line": line,
        "column": column,
        "severity": str(fault.severity),
        "code": fault.code,
        "message": fault.message,
        "hint": fault.hint,
    }


def has_errors(faults: Sequence[Fault]) -> bool:
    return any(fault.severity is Severity.ERROR for fault in faults)
