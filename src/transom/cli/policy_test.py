# SPDX-License-Identifier: Apache-2.0
"""`transom policy test`: cases of policies, each a folder (see `policy_files`)."""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transom.cli.policy_files import (
    CASE,
    EXPECTED,
    case_folders,
    material,
    read_source,
    shown,
    tree,
)
from transom.cli.policy_reasons import why, why_not
from transom.cli.policy_world import absences, fault_object, mode_of, refuse_waiting, workspace
from transom.errors import TransomError
from transom.policy.datalog.cases.cases import (
    Outcome,
    Settings,
    compare_diagnostics,
    compared,
    diagnostics,
    expectations,
    settings_of,
)
from transom.policy.datalog.cases.coverage import Coverage
from transom.policy.datalog.cases.facts import BadFacts
from transom.policy.datalog.core import TableId
from transom.policy.datalog.engine.engine import finished
from transom.policy.datalog.faults import Fault, Refused, Source, Span
from transom.policy.datalog.language.printing import text_of
from transom.policy.datalog.language.rendering import rendered
from transom.policy.datalog.language.syntax import Mode
from transom.policy.datalog.questions import fact_text
from transom.policy.datalog.rules.names import atom_of
from transom.policy.datalog.values import Row, decoded_row
from transom.policy.datalog.workspace import Workspace

ROWS_MOST = 100
"""Of a case, missing ones and unexpected ones, that are printed; JSON has all."""
REASONS_MOST = 10
"""Rows of a case whose reasons are told."""

Reasons = Callable[[Workspace, TableId, Row], list[str]]


@dataclass(slots=True)
class Wrong:
    """A row that is missing or too much, as text, and why."""

    table: TableId
    row: Row
    text: str
    place: str
    reasons: list[str]


@dataclass(slots=True)
class Ran:
    """A case that was run. `faults`, `refused`: why it could not be."""

    name: str
    missing: list[Wrong] = field(default_factory=list)
    unexpected: list[Wrong] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    faults: tuple[Fault, ...] = ()
    refused: str = ""
    warnings: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        wrong = self.missing or self.unexpected or self.failures or self.silent
        return not (wrong or self.faults or self.refused)


def test(options: argparse.Namespace) -> int:
    coverage = Coverage() if options.coverage else None
    results: list[dict[str, Any]] = []
    count = failed = 0
    for folder in case_folders(options.folder):
        ran = _run(folder, mode_of(options.strict), coverage)
        count += 1
        failed += not ran.is_good
        if options.json:
            results.append(_as_object(ran))
        else:
            print("\n".join(_as_lines(ran)), flush=True)
    if options.json:
        found: dict[str, Any] = {"cases": results, "failed": failed}
        if coverage is not None:
            found["coverage"] = _coverage_object(coverage)
        print(json.dumps(found, indent=2))
    else:
        print(f"{count} case{'s' * (count != 1)}, {failed or 'none'} failed")
        if coverage is not None:
            print("\n".join(_coverage_lines(coverage)))
    return 1 if failed else 0


def _run(folder: Path, mode: Mode, coverage: Coverage | None) -> Ran:
    ran = Ran(shown(folder))
    try:
        found = material([folder], ran.warnings.append)
        settings = _settings(folder)
        own = settings.policy or found.own
        made = workspace(found, mode, ran.warnings.append, settings.time)
        refuse_waiting(made)
        expected = expectations(made.program, own, _expected(folder))
        if not expected and not settings.diagnostics:
            raise BadFacts(
                f"{ran.name}/{EXPECTED}: expects nothing; for an empty table write `not error(_)`"
            )
        outcome = compared(expected, made.engine.rows, made.engine.find)
        absent = absences(made, (one.table for one in expected), f"say `time:` in {CASE}")
        ran.warnings += absent
        said = diagnostics(made.program, finished(made.engine.diagnosing()))
        compare_diagnostics(outcome, settings.diagnostics, said)
        _take(ran, outcome, made, own)
        if coverage is not None:
            for entry in made.program.entries.values():
                coverage.take(entry, made.engine)
    except Refused as refused:
        ran.faults = refused.faults
    except (TransomError, OSError) as error:
        ran.refused = str(error)
    return ran


def _settings(folder: Path) -> Settings:
    path = folder / CASE
    return settings_of(tree(path), shown(path)) if path.exists() else Settings()


def _expected(folder: Path) -> Source:
    path = folder / EXPECTED
    return read_source(path) if path.exists() else Source(shown(path), "")


def _take(ran: Ran, outcome: Outcome, made: Workspace, own: str) -> None:
    reasons_left = REASONS_MOST

    def wrong(table: TableId, row: Row, span: Span, reasons: Reasons) -> Wrong:
        nonlocal reasons_left
        reasons_left -= 1
        said = reasons(made, table, row) if reasons_left >= 0 else []
        text = fact_text(atom_of(table, own), row, made.program.mode)
        return Wrong(table, row, text, str(span), said)

    ran.missing = [wrong(one.table, one.row, one.span, why_not) for one in outcome.missing]
    ran.unexpected = [wrong(*found, why) for found in outcome.unexpected]
    ran.failures, ran.silent = outcome.failures, outcome.silent


def _as_lines(ran: Ran) -> Iterator[str]:
    yield f"{'ok    ' if ran.is_good else 'FAILED'}  {ran.name}"
    for text in ran.warnings:
        yield f"  warning     {text}"
    for what, rows in (("missing", ran.missing), ("unexpected", ran.unexpected)):
        for wrong in rows[:ROWS_MOST]:
            yield f"  {what:10}  {wrong.text}  ({wrong.place})"
            yield from (f"    {line}" for line in wrong.reasons)
        if rows[ROWS_MOST:]:
            yield f"  {what:10}  ... and {len(rows) - ROWS_MOST} rows more"
    for text in ran.failures:
        yield f"  diagnostic  {text}"
    for text in ran.silent:
        yield f"  no diagnostic says  {text}"
    if ran.refused:
        yield f"  {ran.refused}"
    for fault in ran.faults:
        yield from (f"  {line}".rstrip() for line in rendered(fault).splitlines())


def _as_object(ran: Ran) -> dict[str, Any]:
    return {
        "case": ran.name,
        "ok": ran.is_good,
        "missing": [_wrong_object(wrong) for wrong in ran.missing],
        "unexpected": [_wrong_object(wrong) for wrong in ran.unexpected],
        "diagnostics": ran.failures,
        "silent": ran.silent,
        "faults": [*map(fault_object, ran.faults), *([ran.refused] if ran.refused else [])],
        "warnings": ran.warnings,
    }


def _wrong_object(wrong: Wrong) -> dict[str, Any]:
    return {"table": wrong.table, "row": decoded_row(wrong.row), "reasons": wrong.reasons}


def _coverage_lines(coverage: Coverage) -> Iterator[str]:
    rules = list(coverage.rules.values())
    fired = len(rules) - len(coverage.silent)
    literals = [mattered for rule in rules for mattered in rule.literals.values()]
    yield (
        f"coverage: {fired} of {len(rules)} rules gave rows, "
        f"{sum(literals)} of {len(literals)} literals mattered"
    )
    for rule in rules:
        if not rule.fired:
            yield f"{rule.entry.rule.span}: gave no row in any case: {text_of(rule.entry.rule)}"
        for span in rule.idle:
            yield f"{span}: no case needs it: {span.text}"


def _coverage_object(coverage: Coverage) -> dict[str, Any]:
    return {
        "rules": [
            {
                "place": str(rule.entry.rule.span),
                "rule": text_of(rule.entry.rule),
                "gave_rows": rule.fired,
                "idle": [{"place": str(span), "text": span.text} for span in rule.idle],
            }
            for rule in coverage.rules.values()
        ]
    }
