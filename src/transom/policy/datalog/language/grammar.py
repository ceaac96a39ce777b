# SPDX-License-Identifier: Apache-2.0
r"""Tokens to the syntax tree: a parser written by hand, one method for each line of the grammar.

    program   = { statement [ "." | ";" ] }
    statement = rule | event
    rule      = literal { "," literal } ":-" literal { "," literal }
              | atom
    event     = ( "insert" | "delete" ) "[" rule [ ";" string ] "]"
    literal   = [ "not" | "NOT" | "!" ] atom
    atom      = ( "execute" | "insert" | "delete" ) "[" plain "]" | plain
    plain     = name { ":" name } [ "+" | "-" ] [ "(" [ argument { "," argument } ] ")" ]
    argument  = term | ( name | digits ) "=" term
    term      = number | string | "true" | "false" | "null" | variable
              | ( "count" | "sum" | "min" | "max" ) "(" variable ")"
    variable  = name

A statement ends where its grammar ends, so a full stop is a matter of taste: `p(1) q(2)` are two
facts. Arguments by place stand before those by name. Aggregates are terms of heads only. The sign
of a table touches its name. Names: letters, digits, `_` and `.`, beginning with a letter or `_`,
not ending with a dot. Strings stand in `"` or `'`, on one line. Comments: `//` and `#` to the end
of the line, `/* */`.

`insert[p(1)]` alone is an event; before `:-` it is a head. The words execute, insert, delete and
not are names wherever they can be nothing else.

Invariants:
1. No method calls itself through others more than a few deep, whatever the text.
2. After a fault the next statement is read, so that all are told at once.

Source: the language of OpenStack Congress, v1. What is read here and not there: negative numbers,
`true`, `false` and `null`, `e"..."`, aggregates, the words above as names, a line comment at the
very end. A name neither begins nor ends with a dot here.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, NoReturn, TypeVar

from transom.policy.datalog.faults import Source, Span
from transom.policy.datalog.language.lexer import (
    BAD,
    END,
    LOST,
    NAME,
    NUMBER,
    STRING,
    Findings,
    Token,
    number_value,
    shown,
    string_value,
    tokens,
)
from transom.policy.datalog.language.remarks import with_comments
from transom.policy.datalog.language.slips import (
    AGGREGATES,
    NEGATIONS,
    STOPS,
    advice,
    call_advice,
    is_conjunction,
)
from transom.policy.datalog.language.syntax import (
    Aggregate,
    Atom,
    Constant,
    Event,
    Literal,
    Modal,
    Mode,
    Named,
    Program,
    Rule,
    Statement,
    TableName,
    Term,
    Variable,
)
from transom.policy.datalog.values import FALSE, TRUE, Value

STATEMENTS_MOST: Final = 100_000
LITERALS_MOST: Final = 10_000
"""Of one rule's body, and of its heads."""
ARGUMENTS_MOST: Final = 1_000

MODALS: Final = {modal.value: modal for modal in Modal}
CONSTANTS: Final[dict[str, Value]] = {"true": TRUE, "false": FALSE, "null": None}
_EVENTS: Final = frozenset({Modal.INSERT.value, Modal.DELETE.value})
_COLUMNS: Final = frozenset({NAME, NUMBER})
_FOLLOWING: Final = frozenset({END, NAME, "!", *STOPS})
"""What may stand behind a statement."""
_COMPLAINED: Final = frozenset({BAD, LOST})
_ENDING: Final = frozenset({END, ":-", *STOPS})
"""What is found where a bracket was forgotten."""
_BEHIND_ARGUMENTS: Final = frozenset({",", ")"})
_GOING_ON: Final = frozenset({",", ":-", ":", "(", "[", "="})
"""Behind these, a line is no new statement's."""

Read = TypeVar("Read")


def parse(source: Source, mode: Mode = Mode.COMPATIBLE) -> Program:
    """A whole text. Raises: Refused, with all its faults."""
    return _Reader(source, mode).program()


def parse_rule(source: Source, mode: Mode = Mode.COMPATIBLE) -> Rule:
    """A text that is one rule or one fact. Raises: Refused."""
    return _Reader(source, mode).alone_rule()


def parse_atom(source: Source, mode: Mode = Mode.COMPATIBLE) -> Atom:
    """A text that is one atom. Raises: Refused."""
    return _Reader(source, mode).alone_atom()


def parse_query(source: Source, mode: Mode = Mode.COMPATIBLE) -> Literal | Rule:
    """A text that asks: a literal, or a rule whose head says what is asked. Raises: Refused."""
    return _Reader(source, mode).alone_query()


class _Slip(Exception):
    """This statement can't be read further; what is wrong with it has been said."""


class _Reader:
    """`at`: the token that is next. `in_head`: whether aggregates may stand here."""

    def __init__(self, source: Source, mode: Mode) -> None:
        self.source = source
        self.mode = mode
        self.findings = Findings(source)
        self.tokens, self.comments = tokens(self.findings)
        self.at = 0
        self.in_head = True

    # What a text is as a whole.

    def program(self) -> Program:
        done: list[tuple[Statement, int, int]] = []
        while (token := self.tokens[self.at]).kind != END:
            begin = self.at
            if token.kind in STOPS:
                self.at += 1
                continue
            try:
                if len(done) == STATEMENTS_MOST:
                    self.too_many("statements", STATEMENTS_MOST)
                statement = self.statement()
                self.statement_end()
            except _Slip:
                self.recover(begin)
                continue
            if self.tokens[self.at].kind in STOPS:
                self.at += 1
            done.append((statement, token.start, self.tokens[self.at - 1].end))
        self.findings.settle()
        return with_comments(self.source.text, done, self.comments)

    def alone_rule(self) -> Rule:
        rule = self.alone(self.rule)
        place = rule.span.start, self.tokens[-1].end
        (found,) = with_comments(self.source.text, [(rule, *place)], self.comments).statements
        assert isinstance(found, Rule)
        return found

    def alone_atom(self) -> Atom:
        self.in_head = False
        return self.alone(self.atom)

    def alone_query(self) -> Literal | Rule:
        if any(token.kind == ":-" for token in self.tokens):
            return self.alone(self.rule)
        self.in_head = False
        return self.alone(self.literal)

    def alone(self, read: Callable[[], Read]) -> Read:
        """What the whole text is, but for a full stop. Raises: Refused."""
        try:
            found = read()
            if self.tokens[self.at].kind in STOPS:
                self.at += 1
            if self.tokens[self.at].kind != END:
                self.fail("the end of the text", "here is room for one only")
        except _Slip:
            self.findings.refuse()
        self.findings.settle()
        return found

    # Statements.

    def statement(self) -> Statement:
        token = self.tokens[self.at]
        if token.kind == NAME and token.text in _EVENTS and self.tokens[self.at + 1].kind == "[":
            return self.event(token)
        return self.rule()

    def event(self, word: Token) -> Statement:
        """`insert[...]`: an event, or the head of a rule; what comes behind it tells which."""
        bracket = self.tokens[self.at + 1]
        self.at += 2
        rule = self.rule()
        policy = None
        if self.tokens[self.at].kind == ";":
            self.at += 1
            policy = self.policy()
        self.close("]", bracket)
        modal = MODALS[word.text]
        span = Span(self.source, word.start, self.tokens[self.at - 1].end)
        if rule.body or policy is not None or self.tokens[self.at].kind not in (":-", ","):
            return Event(modal, rule, policy, span)
        if rule.head.modal:
            self.refuse("syntax", "a modal inside another", rule.head.span)
        head = replace(rule.head, modal=modal, span=span)
        return self.rule(Literal(head, span=span))

    def policy(self) -> str:
        token = self.tokens[self.at]
        if token.kind not in (STRING, LOST):
            self.fail("the name of a policy in quotes")
        self.at += 1
        return string_value(self.findings, token, self.mode) if token.kind == STRING else ""

    def rule(self, first: Literal | None = None) -> Rule:
        self.in_head = True
        heads = self.literals(first)
        body: tuple[Literal, ...] = ()
        if self.tokens[self.at].kind == ":-":
            self.at += 1
            self.in_head = False
            body = self.literals()
        elif len(heads) > 1:
            self.fail("`:-`", "facts stand side by side, without a comma")
        elif heads[0].negated:
            hint = "if it belongs to the rule before it, a comma is missing"
            self.refuse("negated-fact", "a fact can't be negated", heads[0].span, hint)
        end = self.tokens[self.at - 1].end
        return Rule(heads, body, Span(self.source, heads[0].span.start, end))

    def statement_end(self) -> None:
        if self.tokens[self.at].kind not in _FOLLOWING:
            self.fail("`,` or the end of the statement")
        if is_conjunction(self.source.text, self.tokens, self.at):
            self.fail("`,` or the end of the statement")

    def recover(self, begin: int) -> None:
        """To where the next statement begins: behind a full stop, or at a line's beginning.

        A line begins one if its first word stands no further right than the statement that went
        wrong, and what was before it does not go on.
        """
        text = self.source.text
        start = self.tokens[begin].start
        column = -1
        self.at = max(self.at, begin + 1)
        while (token := self.tokens[self.at]).kind != END:
            before = self.tokens[self.at - 1]
            if token.kind in STOPS and self.tokens[self.at + 1].kind not in (STRING, LOST):
                self.at += 1
                return
            if token.kind in (NAME, "!") and before.kind not in _GOING_ON:
                line = text.rfind("\n", before.end, token.start)
                if line >= 0:
                    if column < 0:
                        column = start - text.rfind("\n", 0, start)
                    if token.start - line <= column:
                        return
            self.at += 1

    # Literals.

    def literals(self, first: Literal | None = None) -> tuple[Literal, ...]:
        found = [first or self.literal()]
        while self.tokens[self.at].kind == ",":
            if len(found) == LITERALS_MOST:
                self.too_many("literals of one rule", LITERALS_MOST)
            self.at += 1
            found.append(self.literal())
        return tuple(found)

    def literal(self) -> Literal:
        token = self.tokens[self.at]
        if token.kind != "!" and not (token.kind == NAME and token.text in NEGATIONS):
            atom = self.atom()
            return Literal(atom, False, atom.span)
        self.at += 1
        following = self.tokens[self.at]
        if following.kind == "(":
            self.fail("a table", f"{shown(token.text)} stands before one literal, without `(`")
        if following.kind == "!" or following.text in NEGATIONS:
            self.fail("a table", "two negations are none")
        atom = self.atom()
        return Literal(atom, True, Span(self.source, token.start, atom.span.end))

    def atom(self) -> Atom:
        token = self.tokens[self.at]
        if token.kind != NAME or token.text not in MODALS or self.tokens[self.at + 1].kind != "[":
            return self.plain()
        bracket = self.tokens[self.at + 1]
        self.at += 2
        atom = self.plain()
        self.close("]", bracket)
        span = Span(self.source, token.start, self.tokens[self.at - 1].end)
        return Atom(atom.name, atom.terms, atom.named, MODALS[token.text], span)

    def plain(self) -> Atom:
        token = self.tokens[self.at]
        if token.kind != NAME:
            self.fail("a table")
        if token.text in NEGATIONS:
            self.fail("a table", "as a table's name this word needs its policy before it")
        self.at += 1
        words = [token.text]
        while self.tokens[self.at].kind == ":":
            self.at += 1
            if self.tokens[self.at].kind != NAME:
                self.fail("the name of a table")
            words.append(self.tokens[self.at].text)
            self.at += 1
        sign = self.sign()
        span = Span(self.source, token.start, self.tokens[self.at - 1].end)
        if len(words) == 1:
            name = TableName(None, words[0], sign, span)
        else:
            name = TableName(words[0], ":".join(words[1:]), sign, span)
        if self.tokens[self.at].kind != "(":
            return Atom(name, span=span)
        terms, columns = self.arguments()
        whole = Span(self.source, token.start, self.tokens[self.at - 1].end)
        return Atom(name, terms, columns, None, whole)

    def sign(self) -> str:
        token = self.tokens[self.at]
        if token.kind not in ("+", "-") or token.start != self.tokens[self.at - 1].end:
            return ""
        following = self.tokens[self.at + 1]
        if following.kind == NAME and following.start == token.end:
            before = self.tokens[self.at - 1]
            whole = Span(self.source, before.start, following.end)
            message = f"a name has no `{token.kind}` inside: {shown(whole.text)}"
            self.refuse("bad-name", message, whole, "`_` is a letter")
        self.at += 1
        return token.kind

    # Arguments.

    def arguments(self) -> tuple[tuple[Term, ...], tuple[Named, ...]]:
        bracket = self.tokens[self.at]
        terms: list[Term] = []
        columns: dict[str | int, Named] = {}
        self.at += 1
        if self.tokens[self.at].kind == ")":
            self.at += 1
            return (), ()
        while True:
            token = self.tokens[self.at]
            if len(terms) + len(columns) == ARGUMENTS_MOST:
                self.too_many("arguments", ARGUMENTS_MOST)
            if token.kind in _COLUMNS and self.tokens[self.at + 1].kind == "=":
                self.named(token, terms, columns)
            else:
                terms.append(self.term())
                if columns and self.tokens[self.at].kind in _BEHIND_ARGUMENTS:
                    self.complain(
                        "misplaced-argument",
                        "an argument by place behind one by name",
                        terms[-1].span,
                        "arguments by place come first",
                    )
            if self.tokens[self.at].kind != ",":
                break
            self.at += 1
        if self.tokens[self.at].kind == "==" and token is self.tokens[self.at - 1]:
            self.fail("`,` or `)`", "a column is named with one `=`")
        self.close(")", bracket)
        return tuple(terms), tuple(columns.values())

    def named(self, token: Token, terms: list[Term], columns: dict[str | int, Named]) -> None:
        column: str | int = token.text
        place = Span(self.source, token.start, token.end)
        if token.kind == NUMBER:
            number = number_value(self.findings, token)
            if not isinstance(number, int) or not 0 <= number < ARGUMENTS_MOST:
                hint = f"columns have numbers from 0 to {ARGUMENTS_MOST - 1}"
                self.refuse("bad-column", f"{shown(token.text)} is no column", place, hint)
            column = number
        self.at += 2
        term = self.term()
        first = columns[column].span if column in columns else None
        if isinstance(column, int) and column < len(terms):
            first = terms[column].span
        if first:
            self.complain(
                "duplicate-column",
                f"the column {shown(token.text)} is given twice",
                place,
                related=(("first given here", first),),
            )
        span = Span(self.source, token.start, term.span.end)
        columns[column] = Named(column, term, span)

    def term(self) -> Term:
        token = self.tokens[self.at]
        kind = token.kind
        span = Span(self.source, token.start, token.end)
        if kind == NAME:
            if self.tokens[self.at + 1].kind == "(":
                return self.aggregate(token)
            self.at += 1
            text = token.text
            return Constant(CONSTANTS[text], span) if text in CONSTANTS else Variable(text, span)
        value: Value = None
        if kind == NUMBER:
            value = number_value(self.findings, token)
        elif kind == STRING:
            value = string_value(self.findings, token, self.mode)
        elif kind != LOST:
            hint = "the sign of a number touches it; there is no `+`" if kind in ("+", "-") else ""
            hint = "`_` is any value" if kind == "*" else hint
            self.fail("a variable, a number or a string", hint)
        self.at += 1
        return Constant(value, span)

    def aggregate(self, token: Token) -> Aggregate:
        name = token.text
        if name not in AGGREGATES or not self.in_head:
            self.refuse(
                "misplaced-call",
                f"{shown(name + '(...)')} can't be an argument here",
                Span(self.source, token.start, token.end),
                call_advice(name),
            )
        bracket = self.tokens[self.at + 1]
        self.at += 2
        inner = self.tokens[self.at]
        if inner.kind != NAME or inner.text in CONSTANTS:
            self.fail("a variable", f"`{name}(x)` ranges over the values of x")
        self.at += 1
        self.close(")", bracket)
        variable = Variable(inner.text, Span(self.source, inner.start, inner.end))
        span = Span(self.source, token.start, self.tokens[self.at - 1].end)
        return Aggregate(name, variable, span)

    # What is wrong.

    def close(self, bracket: str, opened: Token) -> None:
        found = self.tokens[self.at].kind
        if found == bracket:
            self.at += 1
            return
        hint = ""
        related: tuple[tuple[str, Span], ...] = ()
        if found in _ENDING or "\n" in self.source.text[opened.end : self.tokens[self.at].start]:
            place = Span(self.source, opened.start, opened.end)
            related = ((f"this `{opened.kind}` is open", place),)
            hint = f"a `{bracket}` is missing before it"
            if (bracket, found) == ("]", ":-"):
                hint = "the body stands behind the bracket: `execute[p(x)] :- q(x)`"
        self.fail("`,` or `)`" if bracket == ")" else "`]`", hint, related)

    def fail(
        self, expected: str, hint: str = "", related: tuple[tuple[str, Span], ...] = ()
    ) -> NoReturn:
        """The next token is not what it should be. Of a bad one, and behind it, nothing is said."""
        token = self.tokens[self.at]
        if not _COMPLAINED & {token.kind, self.tokens[self.at - 1].kind}:
            found = "the end of the text" if token.kind == END else shown(token.text)
            self.findings.add(
                "syntax",
                f"expected {expected}, found {found}",
                (token.start, token.end),
                hint or advice(self.tokens, self.at),
                related,
            )
        raise _Slip

    def complain(
        self,
        code: str,
        message: str,
        span: Span,
        hint: str = "",
        related: tuple[tuple[str, Span], ...] = (),
    ) -> None:
        self.findings.add(code, message, (span.start, span.end), hint, related)

    def refuse(self, code: str, message: str, span: Span, hint: str = "") -> NoReturn:
        self.complain(code, message, span, hint)
        raise _Slip

    def too_many(self, what: str, most: int) -> NoReturn:
        token = self.tokens[self.at]
        span = Span(self.source, token.start, token.end)
        self.refuse("too-large", f"more than {most:,} {what}", span)
