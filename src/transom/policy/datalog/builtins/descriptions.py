# SPDX-License-Identifier: Apache-2.0
"""What a builtin says of itself, for messages and for the reference: its docstring, taken apart.

The first line is `plus(x, y, z): z is x + y.`; the last paragraph has `Fails:` and `Example:`.
"""

from dataclasses import dataclass

from transom.policy.datalog.core import Builtin


@dataclass(frozen=True, slots=True)
class Description:
    """`line`: the first line. `arguments`: names, outputs last. `more`: what stands between."""

    line: str
    arguments: tuple[str, ...]
    meaning: str
    more: str
    fails: str
    example: str


def described(builtin: Builtin) -> Description:
    paragraphs = [
        " ".join(paragraph.split())
        for paragraph in (builtin.function.__doc__ or f"{builtin.name}()").split("\n\n")
    ]
    line = paragraphs[0]
    literal, _, meaning = line.partition("): ")
    last, _, example = paragraphs[-1].partition(" Example: ")
    return Description(
        line=line,
        arguments=tuple(literal.rstrip(")").partition("(")[2].replace(",", " ").split()),
        meaning=meaning,
        more=" ".join(paragraphs[1:-1]),
        fails=last.removeprefix("Fails: "),
        example=example,
    )
