# SPDX-License-Identifier: Apache-2.0
"""Faults for a person: the message, the line it is about, and a caret below the place.

    error[syntax]: `,` or `)` expected, `:-` found
     --> pets.dl:3:5
      |
    3 | p(x :- q(x)
      |     ^^
      = hint: ...

A line shows what is there: a hidden character as `<U+202E>`, a tab as blanks, and carets stand
right also below characters that are two columns wide. Of a long line the part around the place is
shown, of a place of several lines the first one. Only a part of the text around the place is ever
looked at, however long its line is.
"""

import unicodedata
from collections.abc import Sequence
from typing import Final

from transom.policy.datalog.faults import NOWHERE, Fault, Severity, Span
from transom.policy.datalog.language.lexer import visible

_TAB: Final = "    "
_BEFORE_MOST: Final = 60
_LINE_MOST: Final = 110
"""Characters of a line that are shown, and how many of them before the place."""
_COLOURS: Final = {Severity.ERROR: "31", Severity.WARNING: "33"}
_BLUE: Final = "34"


def rendered_all(faults: Sequence[Fault], colour: bool = False) -> str:
    """All faults, a blank line between them, and how many they are."""
    texts = [rendered(fault, colour) for fault in faults]
    errors = sum(fault.severity is Severity.ERROR for fault in faults)
    counts = [(errors, "error"), (len(faults) - errors, "warning")]
    words = [f"{count} {what}{'s' * (count > 1)}" for count, what in counts if count]
    return "\n".join([*texts, ", ".join(words) + "\n"]) if words else ""


def rendered(fault: Fault, colour: bool = False) -> str:
    """One fault, with its places and its hint; ends with a line break."""
    paint = _Paint(colour)
    bright = _COLOURS[fault.severity]
    lines = [
        f"{paint(f'{fault.severity}[{fault.code}]', bright)}{paint(f': {visible(fault.message)}')}"
    ]
    places = [("", fault.span), *fault.related]
    places = [(what, span) for what, span in places if span is not NOWHERE]
    numbers = [span.source.line_column(span.start) for _, span in places]
    width = max((len(str(line)) for line, _ in numbers), default=0)
    for (what, span), (line, column) in zip(places, numbers, strict=True):
        if what:
            lines.append(f"{' ' * width} {paint('=', _BLUE)} {what}:")
        lines.append(
            f"{' ' * width}{paint('-->', _BLUE)} {visible(span.source.name)}:{line}:{column}"
        )
        lines.extend(_picture(span, str(line).rjust(width), paint, _BLUE if what else bright))
    if fault.hint:
        lines.append(f"{' ' * width} {paint('=', _BLUE)} hint: {fault.hint}")
    return "\n".join(lines) + "\n"


def _picture(span: Span, number: str, paint: "_Paint", colour: str) -> list[str]:
    before, marked, after = _parts(span)
    bar = paint("|", _BLUE)
    gap = " " * len(number)
    line = f"{before}{marked}{after}".rstrip()
    carets = paint("^" * max(_columns(marked), 1), colour)
    return [
        f"{gap} {bar}",
        f"{paint(number, _BLUE)} {bar} {line}".rstrip(),
        f"{gap} {bar} {' ' * _columns(before)}{carets}",
    ]


def _parts(span: Span) -> tuple[str, str, str]:
    """The line as it is shown: before the place, the place, and behind it."""
    text = span.source.text
    start = max(text.rfind("\n", 0, span.start) + 1, span.start - _BEFORE_MOST)
    stop = start + _LINE_MOST
    end = text.find("\n", span.start, stop)
    cut_end = end < 0 and stop < len(text)
    end = min(stop, len(text)) if end < 0 else end
    if text[end - 1 : end + 1] == "\r\n":
        end = max(end - 1, span.start)
    marked_end = max(span.start, min(span.end, end))
    cut_start = start > 0 and text[start - 1] != "\n"
    return (
        "…" * cut_start + _spaced(text[start : span.start]),
        _spaced(text[span.start : marked_end]),
        _spaced(text[marked_end:end]) + "…" * cut_end,
    )


def _spaced(text: str) -> str:
    return visible(text).replace("\t", _TAB)


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(one) else 1 + (unicodedata.east_asian_width(one) in "WF")
        for one in text
    )


class _Paint:
    """Colours for a terminal, or none."""

    def __init__(self, colour: bool) -> None:
        self.colour = colour

    def __call__(self, text: str, colour: str = "") -> str:
        if not self.colour:
            return text
        return f"\x1b[1{';' * bool(colour)}{colour}m{text}\x1b[0m"
