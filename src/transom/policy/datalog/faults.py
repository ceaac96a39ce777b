# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a text, where, and what to do: one shape for errors, warnings and lint.

A `Fault` says its place by a `Span` of the text; `rendered` draws it for a person, with the line
and a caret. All faults of a text are found and said together, in `Refused`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from transom.errors import BadRequest


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Source:
    """A text and its name: a file's path, or where else it came from."""

    name: str
    text: str

    def line_column(self, offset: int) -> tuple[int, int]:
        """Both from 1. The column counts characters, a tab as one."""
        before = self.text.count("\n", 0, offset)
        return before + 1, offset - (self.text.rfind("\n", 0, offset) + 1) + 1


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` up to, not with, `end` of a source."""

    source: Source
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    def __str__(self) -> str:
        line, column = self.source.line_column(self.start)
        return f"{self.source.name}:{line}:{column}"


NOWHERE = Span(Source("", ""), 0, 0)
"""The place of what no text holds: made by a program."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`code`: stable, for programs and for documents. `message`: what is wrong; `hint`: what to do.

    `related`: other places that matter, each with what it is ("first used here").
    """

    code: str
    message: str
    span: Span = NOWHERE
    severity: Severity = Severity.ERROR
    hint: str = ""
    related: tuple[tuple[str, Span], ...] = ()


class Refused(BadRequest):
    """A text or a change of rules that is not taken. `faults`: all that is wrong with it."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(one_line(fault) for fault in self.faults))


def one_line(fault: Fault) -> str:
    place = f"{fault.span}: " if fault.span is not NOWHERE else ""
    return f"{place}{fault.message}"
