# SPDX-License-Identifier: Apache-2.0
"""`transom policy lint` and `fmt`: what is doubtful in rules, and rules in their one spelling."""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from transom.cli.policy_files import Material, material, read_input, read_source, rule_files, shown
from transom.cli.policy_world import (
    SCHEMA_HINT,
    fault_object,
    faults_told,
    has_errors,
    known_columns,
    mode_of,
    tell_faults,
    warn,
)
from transom.policy.datalog.faults import Fault, Refused, Source
from transom.policy.datalog.language.grammar import parse
from transom.policy.datalog.language.printing import format_program
from transom.policy.datalog.language.syntax import Mode
from transom.policy.datalog.rules.lint import lint as lint_faults

STANDARD_INPUT = Path("-")


@faults_told
def lint(options: argparse.Namespace) -> int:
    """Status 1 if something is wrong; what is only doubtful is told and is 0."""
    told: dict[tuple[str, str, str], Fault] = {}
    for found in _worlds(options.path):
        for fault in _faults(found, mode_of(options.strict)):
            told.setdefault((str(fault.span), fault.code, fault.message), fault)
    faults = list(told.values())
    if options.json:
        print(json.dumps([fault_object(fault) for fault in faults], indent=2))
    else:
        tell_faults(faults, sys.stdout)
    return 1 if has_errors(faults) else 0


def _worlds(paths: Sequence[Path]) -> Iterator[Material]:
    """What is looked at together: all files that are named; each folder for itself."""
    files = [path for path in paths if not path.is_dir()]
    if files:
        yield material(files, warn)
    folders = (rules.parent for path in paths if path.is_dir() for rules in rule_files([path]))
    for folder in dict.fromkeys(folders):
        yield material([folder], warn)


def _faults(found: Material, mode: Mode) -> Sequence[Fault]:
    loader = known_columns(found, mode)
    try:
        loader.rules((rules.policy, rules.text) for rules in found.rules)
    except Refused as refused:
        return refused.faults
    return [
        replace(fault, hint=fault.hint or SCHEMA_HINT) if fault.code == "rule-waits" else fault
        for fault in lint_faults(loader.workspace.program)
    ]


def fmt(options: argparse.Namespace) -> int:
    """Status 1 if a file cannot be read as rules, or with `--check` would change."""
    mode = mode_of(options.strict)
    status = 0
    if STANDARD_INPUT in options.file:
        status |= _format_input(mode, options.check)
    for path in rule_files(path for path in options.file if path != STANDARD_INPUT):
        try:
            source = read_source(path)
            text = format_program(parse(source, mode), mode)
        except Refused as refused:
            tell_faults(refused.faults, sys.stderr)
            status = 1
            continue
        if text == source.text:
            continue
        print(shown(path))
        if options.check:
            status = 1
        else:
            _write(path, text)
    return status


def _format_input(mode: Mode, check: bool) -> int:
    source = Source("<standard input>", read_input())
    try:
        text = format_program(parse(source, mode), mode)
    except Refused as refused:
        tell_faults(refused.faults, sys.stderr)
        return 1
    if not check:
        sys.stdout.write(text)
    elif text != source.text:
        print(source.name)
        return 1
    return 0


def _write(path: Path, text: str) -> None:
    """Whole or not at all, with the mode that the file has; a link stays one."""
    target = path.resolve()
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=target.parent, prefix=f".{target.name}.", delete=False
    ) as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            shutil.copymode(target, file.name)
            Path(file.name).replace(target)
        except BaseException:  # Safety: leaves nothing beside the file, and is raised again
            Path(file.name).unlink()
            raise
