# SPDX-License-Identifier: Apache-2.0
r"""Trees and values to text: one spelling each, which reads back as the same tree.

A rule's canonical text, `p(x) :- q(x), not r(x, 1)`, is what it is known by; it has no full stop.

Values print as they are read: `1`, `1.0`, `1e+16`, `true`, `null`, `"x"`. A string stands in `"`,
in compatible mode as it is, in `'` if it does not fit between `"`. What fits in neither (a line
break, a hidden character, a backslash at the end) is written with escapes as `e"a\nb"`, which both
modes read. Not numbers that a text can hold are `<inf>`, `<-inf>` and `<nan>`: they come from data
and read back as nothing; so does half a character (`\ud800`).
"""

import re
from typing import Final, TypeAlias, assert_never

from transom.policy.datalog.language.lexer import HIDDEN, RAW_DOUBLE, RAW_SINGLE
from transom.policy.datalog.language.syntax import (
    Aggregate,
    Atom,
    Constant,
    Event,
    Literal,
    Mode,
    Named,
    Program,
    Rule,
    Statement,
    TableName,
    Variable,
)
from transom.policy.datalog.values import Real, Truth, Value

Node: TypeAlias = (
    Constant | Variable | Aggregate | Named | TableName | Atom | Literal | Rule | Event | Program
)

WIDTH: Final = 100
_INDENT: Final = "    "
_ESCAPED: Final = re.compile(rf'[\\"\n\r\t]|{HIDDEN.pattern}')
_ESCAPES: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def value_text(value: Value, mode: Mode = Mode.COMPATIBLE) -> str:
    """A cell, as a text would write it."""
    if isinstance(value, str):
        return _string_text(value, mode)
    if value is None:
        return "null"
    if isinstance(value, Truth):
        return "true" if value.value else "false"
    if isinstance(value, Real):
        text = repr(value.value)
        return f"<{text}>" if text.endswith(("inf", "nan")) else text
    return str(value)


def _string_text(text: str, mode: Mode) -> str:
    if mode is Mode.STRICT:
        return f'"{_ESCAPED.sub(_escape, text)}"'
    if "\n" not in text and not HIDDEN.search(text):
        if RAW_DOUBLE.fullmatch(text):
            return f'"{text}"'
        if RAW_SINGLE.fullmatch(text):
            return f"'{text}'"
    return f'e"{_ESCAPED.sub(_escape, text)}"'


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    return _ESCAPES.get(character) or f"\\u{ord(character):04x}"


def text_of(node: Node, mode: Mode = Mode.COMPATIBLE) -> str:
    """The canonical text of a tree; a program has one statement a line. Comments are left out."""
    match node:
        case Constant(value):
            return value_text(value, mode)
        case Variable(name):
            return name
        case Aggregate(function, variable):
            return f"{function}({variable.name})"
        case Named(column, term):
            return f"{column}={text_of(term, mode)}"
        case TableName():
            return str(node)
        case Atom():
            return _atom_text(node, mode)
        case Literal(atom, negated):
            return f"not {_atom_text(atom, mode)}" if negated else _atom_text(atom, mode)
        case Rule(heads, body):
            head = _list_text(heads, mode)
            return f"{head} :- {_list_text(body, mode)}" if body else head
        case Event(modal, rule):
            return f"{modal}[{text_of(rule, mode)}{_policy_text(node, mode)}]"
        case Program(statements):
            return "".join(f"{text_of(statement, mode)}\n" for statement in statements)
        case _:
            assert_never(node)


def _atom_text(atom: Atom, mode: Mode) -> str:
    arguments = [text_of(term, mode) for term in (*atom.terms, *atom.named)]
    text = str(atom.name) + _arguments_text(arguments)
    return f"{atom.modal}[{text}]" if atom.modal else text


def _arguments_text(arguments: list[str]) -> str:
    return f"({', '.join(arguments)})" if arguments else ""


def _list_text(literals: tuple[Literal, ...], mode: Mode) -> str:
    return ", ".join(text_of(literal, mode) for literal in literals)


def _policy_text(event: Event, mode: Mode) -> str:
    return "" if event.policy is None else f"; {value_text(event.policy, mode)}"


def format_program(program: Program, mode: Mode = Mode.COMPATIBLE, width: int = WIDTH) -> str:
    """A text as `fmt` leaves it: one statement a line, a long body one literal a line.

    Comments are kept, and one blank line where there were some. What comes out reads back as the
    same program, and is left as it is by another call.
    """
    lines: list[str] = []
    for statement in program.statements:
        lines.extend(statement.comments)
        text = _statement_text(statement, mode, width)
        lines.append(f"{text}  {statement.remark}" if statement.remark else text)
    lines.extend(program.trailing)
    return "".join(f"{line}\n" for line in lines)


def _statement_text(statement: Statement, mode: Mode, width: int) -> str:
    text = text_of(statement, mode)
    rule = statement.rule if isinstance(statement, Event) else statement
    if len(text) <= width or not rule.body:
        return text
    body = f",\n{_INDENT}".join(text_of(literal, mode) for literal in rule.body)
    text = f"{_list_text(rule.heads, mode)} :-\n{_INDENT}{body}"
    if isinstance(statement, Event):
        return f"{statement.modal}[{text}{_policy_text(statement, mode)}]"
    return text
