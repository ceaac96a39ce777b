# SPDX-License-Identifier: Apache-2.0
"""Files of policies: which file of a folder is what, and what they hold.

| file | what it is |
|---|---|
| `NAME.dl` | rules of policy NAME; `policy.dl`: of the policy that has the folder's name |
| `facts.yaml`, `facts.json`, `nova:servers.csv` | rows of tables |
| `schema.yaml` | which tables there are, with their columns |
| `case.yaml`, `expected.dl` | make a folder a case of a test: settings, and what must follow |

Invariants:
1. A folder in one called `cases` has besides its own files those of `cases` and of the folder that
   holds it. So a policy's cases share its rules, and no stray file comes in.
2. Of `schema.yaml` the nearest counts, there or above.
"""

import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transom.policy.datalog.cases.csv_text import csv_facts
from transom.policy.datalog.cases.facts import BadFacts, Facts, facts_of, json_tree, schema_of
from transom.policy.datalog.core import TableId
from transom.policy.datalog.faults import Source
from transom.policy.datalog.rules.names import policy_fault

RULES = ".dl"
OWN = "policy.dl"
EXPECTED = "expected.dl"
CASE = "case.yaml"
SCHEMA = "schema.yaml"
FACTS = ("facts.yaml", "facts.json")
CASES = "cases"
KNOWN_SUFFIXES = (".dl", ".csv", ".yaml", ".yml", ".json")

Warn = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Rules:
    """A file of rules. `text`: with the path as its name."""

    policy: str
    path: Path
    text: Source


@dataclass(slots=True)
class Material:
    """What was found: rules, files of facts, declared tables.

    `own`: the policy that a table without a policy's name is one of; "": there are several.
    """

    rules: list[Rules] = field(default_factory=list)
    facts: list[Path] = field(default_factory=list)
    schema: dict[TableId, tuple[str, ...]] = field(default_factory=dict)
    own: str = ""


def material(paths: Sequence[Path], warn: Warn) -> Material:
    """Of folders, files of rules and files of facts. Raises: BadFacts; OSError.

    A folder counts with what holds for it from above, a file of rules with `schema.yaml` alone.
    """
    found = Material()
    folders: dict[Path, None] = {}
    for path in map(_absolute, paths):
        if path.is_dir():
            before = len(found.rules), len(found.facts)
            for level in _levels(path):
                _take_level(found, level)
            folders[path] = None
            if before == (len(found.rules), len(found.facts)):
                raise BadFacts(f"{shown(path)}: holds no rules (*.dl) and no facts")
            _tell_unknown(path, warn)
        elif path.suffix == RULES:
            _take_rules(found, path)
            folders[path.parent] = None
        elif path.name == SCHEMA:
            found.schema.update(schema_of(tree(path), shown(path)))
        else:
            _take_facts(found, path)
    for folder in folders:
        found.schema.update(_schema(folder))
    own = {rules.policy for rules in found.rules if rules.path.name == OWN} or {
        rules.policy for rules in found.rules
    }
    nearest = next((rules.policy for rules in found.rules if rules.path.name == OWN), "")
    found.own = nearest or (own.pop() if len(own) == 1 else "")
    return found


def case_folders(paths: Iterable[Path]) -> Iterator[Path]:
    """Every case at or below these folders, each once, in the order of their names."""
    seen: set[Path] = set()
    for path in map(_absolute, paths):
        if not path.is_dir():
            raise BadFacts(f"{shown(path)}: is no folder; a case is a folder with {EXPECTED}")
        cases = sorted({one.parent for name in (EXPECTED, CASE) for one in path.rglob(name)})
        if not cases:
            raise BadFacts(f"{shown(path)}: no case in it; a case is a folder with {EXPECTED}")
        yield from (case for case in cases if case not in seen)
        seen.update(cases)


def rule_files(paths: Iterable[Path]) -> Iterator[Path]:
    """These files, and every file of rules below these folders, each once. Raises: BadFacts."""
    seen: set[Path] = set()
    for path in map(_absolute, paths):
        below = [path]
        if path.is_dir():
            below = sorted(one for one in path.rglob("*" + RULES) if one.is_file())
        below = [one for one in below if one.name != EXPECTED]
        if not below:
            raise BadFacts(f"{shown(path)}: no rules (*{RULES}) in it")
        yield from (one for one in below if one not in seen)
        seen.update(below)


def rules_in(path: Path) -> Rules:
    """Raises: BadFacts; OSError."""
    path = _absolute(path)
    policy = path.parent.name.replace("-", "_") if path.name == OWN else path.stem
    if fault := policy_fault(policy):
        whose = "the folder's name" if path.name == OWN else "the file's name"
        raise BadFacts(f"{shown(path)}: {whose} is the policy's: {fault}")
    return Rules(policy, path, read_source(path))


def read_facts(path: Path, warn: Warn) -> Iterator[Facts]:
    """The tables of a file of facts; rows of CSV are read as they are taken. Raises: BadFacts."""
    name = shown(path)
    if path.suffix == ".csv":
        with closing(_lines(path)) as lines:
            yield csv_facts(lines, path.stem, name, warn)
    else:
        yield from facts_of(tree(path), name)


def tree(path: Path) -> Any:
    """A YAML or JSON file as plain values. Raises: BadFacts."""
    if path.suffix == ".json":
        return json_tree(read_text(path), shown(path))
    # Loaded only where there is YAML: it is a good part of a command's time.
    from transom.policy.datalog.cases.yaml_text import yaml_tree

    return yaml_tree(read_text(path), shown(path))


def read_source(path: Path) -> Source:
    return Source(shown(path), read_text(path))


def read_text(path: Path) -> str:
    """Raises: BadFacts for what is no text; OSError."""
    return _text(path.read_bytes(), shown(path))


def read_input() -> str:
    """All of standard input. Raises: BadFacts for what is no text."""
    return _text(sys.stdin.buffer.read(), "standard input")


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadFacts(_not_utf_8(name, line)) from error


def _not_utf_8(name: str, line: int) -> str:
    return f"{name}:{line}: is not UTF-8; save the file as UTF-8"


def shown(path: Path) -> str:
    """The path as a person here would type it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 (links stay as they are)


def _levels(folder: Path) -> list[Path]:
    """The folder, and those above whose files count in it."""
    above = folder.parent
    return [folder, above, above.parent] if above.name == CASES else [folder]


def _schema(folder: Path) -> dict[TableId, tuple[str, ...]]:
    """Of the nearest file of it. Raises: BadFacts."""
    for level in (folder, *folder.parents):
        path = level / SCHEMA
        if path.is_file():
            return schema_of(tree(path), shown(path))
    return {}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file())


def _kind(path: Path) -> str:
    """What a file of a folder is by its name: rules, facts, schema, case, or ""."""
    if path.name in (EXPECTED, CASE):
        return "case"
    if path.suffix == RULES:
        return "rules"
    if path.name == SCHEMA:
        return "schema"
    return "facts" if path.name in FACTS or (path.suffix == ".csv" and ":" in path.stem) else ""


def _take_level(found: Material, folder: Path) -> None:
    for path in _files(folder):
        kind = _kind(path)
        if kind == "rules":
            _take_rules(found, path)
        elif kind == "facts":
            _take_facts(found, path)


def _take_rules(found: Material, path: Path) -> None:
    if all(rules.path != path for rules in found.rules):
        found.rules.append(rules_in(path))


def _take_facts(found: Material, path: Path) -> None:
    if path.suffix not in (".csv", ".yaml", ".json"):
        raise BadFacts(
            f"{shown(path)}: expected a folder, rules (.dl) or facts (.csv, .yaml, .json)"
        )
    if path not in found.facts:
        found.facts.append(path)


def _tell_unknown(folder: Path, warn: Warn) -> None:
    """A file that was surely meant to be read."""
    for path in _files(folder):
        if path.suffix in KNOWN_SUFFIXES and not _kind(path):
            warn(
                f"{shown(path)}: is not read; facts are in {', '.join(FACTS)} and "
                f"POLICY:TABLE.csv, columns in {SCHEMA}, settings of a case in {CASE}"
            )


def _lines(path: Path) -> Generator[str, None, None]:
    """Raises: BadFacts for what is no text."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                raise BadFacts(_not_utf_8(shown(path), number)) from error
            yield text
