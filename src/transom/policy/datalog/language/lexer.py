# SPDX-License-Identifier: Apache-2.0
r"""Text to tokens: one regular expression, and what can be said of a single word or sign.

Invariants:
1. The time is linear in the text, whatever it holds: no part of the expression goes back over
   what it has read.
2. A fault of a word is said once: what comes out for it is `BAD` (a sign) or `LOST` (a term), and
   the grammar passes over both in silence.
3. No character that a person does not see, or sees in another place, is in a text that is taken,
   not even in a string or a comment: control characters, those that turn the direction of text,
   halves of characters. A string that needs one is written `e"\u202e"`.
"""

import math
import re
import unicodedata
from typing import Final, NamedTuple, NoReturn

from transom.policy.datalog.faults import Fault, Refused, Source, Span
from transom.policy.datalog.language.syntax import Mode
from transom.policy.datalog.values import INTEGER_BITS_MOST, TEXT_CHARACTERS_MOST, Real, real

FAULTS_MOST: Final = 50
"""Faults of one text that are told; there may be more."""
CHARACTERS_MOST: Final = 2_000_000
TOKENS_MOST: Final = 1_000_000
"""Of one text, and with it of every tree."""
NUMBER_CHARACTERS_MOST: Final = 1_000
SHOWN_CHARACTERS_MOST: Final = 40

NAME: Final = "name"
NUMBER: Final = "number"
STRING: Final = "string"
END: Final = "end"
BAD: Final = "bad"
LOST: Final = "lost"
# Every other token's kind is its text: `(`, `:-`.

_HIDDEN: Final = (
    r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
)
HIDDEN: Final = re.compile(rf"[{_HIDDEN}]|\r(?!\n)")
_QUOTES: Final = "“”„‟‘’‚‛«»‹›`´′″"
_DOUBLE: Final = r'(?:[^"\\\r\n]++|\\[^\r\n])*+'
_SINGLE: Final = r"(?:[^'\\\r\n]++|\\[^\r\n])*+"
RAW_DOUBLE: Final = re.compile(_DOUBLE)
RAW_SINGLE: Final = re.compile(_SINGLE)
_TOKEN: Final = re.compile(
    rf"""[ \t\r\n{_HIDDEN}]*+(?:
    (?P<comment>//[^\n]*+|\#[^\n]*+|/\*(?:[^*]++|\*(?!/))*+(?:\*/|\Z))
    |(?P<triple>\"\"\"(?:(?!\"\"\")[\s\S])*+(?:\"\"\"|\Z)|'''(?:(?!''')[\s\S])*+(?:'''|\Z))
    |(?P<string>e?(?:"{_DOUBLE}"|'{_SINGLE}'))
    |(?P<unclosed>e?["'][^\n]*+)
    |(?P<prefix>[A-Za-z]{{1,2}}(?=["']))
    |(?P<name>[^\W\d](?:[\w.]*\w)?)
    |(?P<number>-?\.?[0-9](?:[eE][+-](?=[0-9])|[\w.])*+)
    |(?P<sign>:-|:=|==|!=|<=|>=|=<|<-|->|<>|&&|\|\||\*/|[!-/:-@\[-_{{-~])
    |(?P<quoted>[{_QUOTES}][^{_QUOTES}"'\n,()]*+[{_QUOTES}"']?)
    |(?P<end>\Z)
    |(?P<unknown>.))""",
    re.VERBOSE | re.DOTALL,
)
_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)")
_FLOAT: Final = re.compile(r"-?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][+-]?[0-9]+)?")
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))")
_ESCAPES: Final = {"\\": "\\", '"': '"', "'": "'", "n": "\n", "t": "\t", "r": "\r"}


class Token(NamedTuple):
    """Characters `start` up to, not with, `end`."""

    kind: str
    text: str
    start: int
    end: int


class Findings:
    """The faults of one text, as they are found; with one more than `FAULTS_MOST` it is left."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.found: list[Fault] = []

    def add(
        self,
        code: str,
        message: str,
        place: tuple[int, int],
        hint: str = "",
        related: tuple[tuple[str, Span], ...] = (),
    ) -> None:
        """Raises: Refused, if there are too many."""
        if len(self.found) == FAULTS_MOST:
            message = f"there are more than these {FAULTS_MOST} faults"
            self.refuse(Fault("too-many-faults", message))
        span = Span(self.source, *place)
        self.found.append(Fault(code, message, span, hint=hint, related=related))

    def settle(self) -> None:
        """Raises: Refused, if there is any."""
        if self.found:
            self.refuse()

    def refuse(self, *last: Fault) -> NoReturn:
        """Raises: Refused."""
        raise Refused([*sorted(self.found, key=lambda fault: fault.span.start), *last])


def named(character: str) -> str:
    """`U+0430 CYRILLIC SMALL LETTER A`."""
    name = unicodedata.name(character, "")
    return f"U+{ord(character):04X}" + (f" {name}" if name else "")


def visible(text: str) -> str:
    """The text with `<U+202E>` for each character that would not be seen as it is."""
    return HIDDEN.sub(lambda found: f"<U+{ord(found[0]):04X}>", text)


def shown(text: str) -> str:
    """A word of the text for a message: visible, and not too long."""
    if len(text) > SHOWN_CHARACTERS_MOST:
        text = text[: SHOWN_CHARACTERS_MOST - 3] + "..."
    return f"`{visible(text)}`"


def tokens(findings: Findings) -> tuple[list[Token], list[Token]]:
    """The tokens of a text, one of kind `END` at the end; and its comments, kind `comment`."""
    text = findings.source.text
    if len(text) > CHARACTERS_MOST:
        _too_large(findings, f"{len(text):,} characters; at most {CHARACTERS_MOST:,}", 0)
    _hidden(findings)
    found: list[Token] = []
    comments: list[Token] = []
    add = found.append
    # A byte order mark, as some editors write it, is no part of the text.
    for match in _TOKEN.finditer(text, text.startswith("\ufeff")):
        if len(found) > TOKENS_MOST:
            _too_large(findings, f"many words and signs; at most {TOKENS_MOST:,}", match.start())
        kind = match.lastgroup or END
        word = match[kind]
        start, end = match.span(kind)
        if kind == "sign":
            add(Token(word, word, start, end))
        elif kind == "name":
            if not word.isascii():
                _strange_name(findings, word, start)
            add(Token(kind, word, start, end))
        elif kind in (NUMBER, STRING):
            add(Token(kind, word, start, end))
        elif kind == "comment":
            if word.startswith("/*") and (len(word) < 4 or not word.endswith("*/")):
                _unclosed_comment(findings, start)
            comments.append(Token(kind, word, start, end))
        elif kind != END:
            # A prefix is passed over: the string behind it is as good as any.
            new = _complaint(findings, kind, word, start)
            if new:
                add(Token(new, word, start, end))
    last = found[-1].end if found else 0
    add(Token(END, "", last, last))
    return found, comments


def _too_large(findings: Findings, what: str, at: int) -> NoReturn:
    hint = "split it into several policies"
    findings.add("too-large", f"a text of {what} are read", (at, at), hint)
    findings.refuse()


def _hidden(findings: Findings) -> None:
    for match in HIDDEN.finditer(findings.source.text):
        hint = f'remove it; in a string, write it as an escape: e"\\u{ord(match[0]):04x}"'
        if "\ud800" <= match[0] <= "\udfff":
            hint = "remove it: it is half a character"
        message = f"a character that is not seen as it is written: {named(match[0])}"
        findings.add("hidden-character", message, match.span(), hint)


def _strange_name(findings: Findings, word: str, start: int) -> None:
    at = next(place for place, character in enumerate(word) if not character.isascii())
    findings.add(
        "bad-name",
        f"the name {shown(word)} has a letter of another alphabet: {named(word[at])}",
        (start + at, start + at + 1),
        "names are made of a-z, A-Z, 0-9, `_` and `.`",
    )


def _unclosed_comment(findings: Findings, start: int) -> None:
    findings.add(
        "unclosed-comment",
        "this comment is not closed",
        (start, start + 2),
        "a comment that begins with `/*` ends with `*/`",
    )


def _complaint(findings: Findings, kind: str, word: str, start: int) -> str:
    """Says what is wrong with a word; gives the kind of token that stands for it, if any."""
    place = start, start + len(word)
    if kind == "prefix":
        hint = "strings have no prefix but `e`; a backslash is kept as it is, but in strict mode"
        findings.add("bad-string", f"{shown(word)} before a string", place, hint)
        return ""
    if kind == "unknown":
        message = f"{shown(word)} is no sign of the language: {named(word)}"
        hint = "write a plain blank" if word.isspace() else ""
        findings.add("bad-character", message, place, hint)
        return BAD
    if kind == "triple":
        hint = "a string stands on one line, between two `\"` or two `'`"
        findings.add("bad-string", "a string in three quotes", (start, start + 3), hint)
    elif kind == "quoted":
        message = f"{shown(word[0])} is no quote of the language: {named(word[0])}"
        findings.add("bad-string", message, place, "strings stand between two `\"` or two `'`")
    else:
        hint = "a string ends on the line on which it begins"
        if f"\\{word.lstrip('e')[0]}" in word:
            hint = "a quote behind a backslash does not end a string"
        findings.add("unclosed-string", "this string is not closed", place, hint)
    return LOST


def number_value(findings: Findings, token: Token) -> int | Real:
    """What a number says; 0 with a complaint if it says nothing."""
    text = token.text
    wrong, hint = "", ""
    if len(text) > NUMBER_CHARACTERS_MOST:
        wrong = f"a number of {len(text)} characters; at most {NUMBER_CHARACTERS_MOST} are read"
    elif _INTEGER.fullmatch(text):
        number = int(text)
        if number.bit_length() <= INTEGER_BITS_MOST:
            return number
        wrong = f"an integer of {number.bit_length()} bits; a cell holds {INTEGER_BITS_MOST}"
    elif _FLOAT.fullmatch(text):
        value = float(text)
        if math.isfinite(value):
            return real(value)
        wrong = f"the number {shown(text)} is larger than a float can be"
    else:
        wrong = f"{shown(text)} is no number"
        hint = _number_hint(text.lstrip("-"))
    findings.add("bad-number", wrong, (token.start, token.end), hint)
    return 0


def _number_hint(digits: str) -> str:
    if digits.isdecimal():
        return f"a number has no zeros before it: {digits.lstrip('0') or '0'}"
    if digits[:2].lower() in ("0x", "0o", "0b"):
        return "numbers are written in tens"
    if "_" in digits:
        return "digits stand side by side, without `_`"
    if not any(map(str.isalpha, digits)):
        return "a number has one decimal point"
    return 'a name begins with a letter or `_`; a text stands in quotes: "..."'


def string_value(findings: Findings, token: Token, mode: Mode) -> str:
    """What a string says: as written, or with its escapes read if the mode or an `e` says so."""
    text = token.text
    if len(text) - 2 > TEXT_CHARACTERS_MOST:
        message = f"a string of {len(text):,} characters; a cell holds {TEXT_CHARACTERS_MOST:,}"
        findings.add("bad-string", message, (token.start, token.end))
    if text[0] == "e":
        return _unescaped(findings, text[2:-1], token.start + 2)
    if mode is Mode.STRICT:
        return _unescaped(findings, text[1:-1], token.start + 1)
    return text[1:-1]


def _unescaped(findings: Findings, text: str, start: int) -> str:
    def read(match: re.Match[str]) -> str:
        short, long, single = match.groups()
        if single:
            if single in _ESCAPES:
                return _ESCAPES[single]
        else:
            code = int(short or long, 16)
            if code < 0x110000 and not 0xD800 <= code < 0xE000:
                return chr(code)
        findings.add(
            "bad-escape",
            f"{shown(match[0])} is no escape",
            (start + match.start(), start + match.end()),
            r"escapes are \\ \" \' \n \t \r \u0041 \U00000041; a backslash itself is \\",
        )
        return ""

    return _ESCAPE.sub(read, text) if "\\" in text else text
