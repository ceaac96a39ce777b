# SPDX-License-Identifier: Apache-2.0
"""A YAML text as plain values that know their line.

Only what JSON can say, and cells without quotes as `facts.cell` reads them: YAML's own rules make
false of `no`, 630 of `10:30` and 7 of `007`. Aliases, tags and second documents are refused.

Invariant: read by events and not by calls, so nesting is bounded by `DEPTH_MOST` alone.
"""

from typing import Any, Final

import yaml

from transom.policy.datalog.cases.facts import BadFacts, cell
from transom.policy.datalog.values import BadValue, decoded

DEPTH_MOST: Final = 8

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Fields(dict[str, Any]):
    """An object. `line`: where it begins, from 1."""

    line = 0


class Items(list[Any]):
    """A list. `line`: where it begins, from 1."""

    line = 0


def yaml_tree(text: str, name: str) -> Any:
    """Raises: BadFacts."""
    reader = _Reader(name)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            reader.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        problem = error.problem or error.context
        lines = text.split("\n")[mark.line : mark.line + 1] if mark else []
        if any(line.lstrip(" ").startswith("\t") for line in lines):
            problem = "a tab; YAML is indented by blanks"
        raise BadFacts(f"{place}: {problem}") from error
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        raise BadFacts(f"{name}: {error}") from error
    return reader.root


class _Reader:
    """Builds the tree as events come."""

    def __init__(self, name: str) -> None:
        self.root: Any = None
        self._name = name
        self._documents = 0
        self._open: list[Fields | Items] = []
        self._keys: list[str | None] = []

    def take(self, event: Any) -> None:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            self._scalar(event)
        elif kind in (yaml.MappingStartEvent, yaml.SequenceStartEvent):
            self._begin(Fields() if kind is yaml.MappingStartEvent else Items(), event)
        elif kind in (yaml.MappingEndEvent, yaml.SequenceEndEvent):
            self._open.pop()
            self._keys.pop()
        elif kind is yaml.AliasEvent:
            self._refuse(event, f"*{event.anchor}: aliases are not read; write it out")
        elif kind is yaml.DocumentStartEvent:
            self._documents += 1
            if self._documents > 1:
                self._refuse(event, "a second document; one file holds one")

    def _scalar(self, event: Any) -> None:
        if event.tag is not None:
            self._refuse(event, f"tags ({event.tag}) are not read; quotes make text of anything")
        value: Any = event.value
        if self._open and isinstance(self._open[-1], Fields) and self._keys[-1] is None:
            if value in self._open[-1]:
                self._refuse(event, f"{value!r} stands twice in one object")
            self._keys[-1] = value
            return
        if event.implicit[0]:  # without quotes
            value = event.value if event.value != "~" else "null"
            try:
                value = decoded(cell(value))
            except BadValue as error:
                self._refuse(event, str(error))
        self._put(value)

    def _begin(self, made: Fields | Items, event: Any) -> None:
        made.line = event.start_mark.line + 1
        if event.tag is not None:
            self._refuse(event, f"tags ({event.tag}) are not read")
        if self._open and isinstance(self._open[-1], Fields) and self._keys[-1] is None:
            self._refuse(event, "a name is text, no list and no object")
        if len(self._open) >= DEPTH_MOST:
            self._refuse(event, "nested too deep")
        self._put(made)
        self._open.append(made)
        self._keys.append(None)

    def _put(self, value: Any) -> None:
        if not self._open:
            self.root = value
        elif isinstance(self._open[-1], Fields):
            self._open[-1][str(self._keys[-1])] = value
            self._keys[-1] = None
        else:
            self._open[-1].append(value)

    def _refuse(self, event: Any, why: str) -> None:
        mark = event.start_mark
        raise BadFacts(f"{self._name}:{mark.line + 1}:{mark.column + 1}: {why}")
