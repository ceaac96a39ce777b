# SPDX-License-Identifier: Apache-2.0
"""Words and signs of a text: what each says, and what is said of those that say nothing."""

import pytest

from transom.policy.datalog.faults import Refused, Source
from transom.policy.datalog.language import lexer
from transom.policy.datalog.language.grammar import parse_atom
from transom.policy.datalog.language.lexer import Findings, tokens
from transom.policy.datalog.language.syntax import Constant, Mode, Variable
from transom.policy.datalog.values import FALSE, TRUE, Value, real


def words(text: str) -> list[str]:
    found, _ = tokens(Findings(Source("t", text)))
    return [token.text for token in found[:-1]]


def value(text: str, mode: Mode = Mode.COMPATIBLE) -> Value:
    (term,) = parse_atom(Source("t", f"p({text})"), mode).terms
    assert isinstance(term, Constant)
    return term.value


def refusal(text: str, mode: Mode = Mode.COMPATIBLE) -> list[str]:
    with pytest.raises(Refused) as caught:
        parse_atom(Source("t", text), mode)
    return [fault.code for fault in caught.value.faults]


def test_a_text_is_words_and_signs() -> None:
    assert words("nova:p(x_1,'a')  :-not q . !r") == [
        "nova", ":", "p", "(", "x_1", ",", "'a'", ")", ":-", "not", "q", ".", "!", "r",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("servers.pause.", ["servers.pause", "."]),
        ("p...", ["p", ".", ".", "."]),
        ("p. q", ["p", ".", "q"]),
        (").q", [")", ".", "q"]),
        ("p..q", ["p..q"]),
        ("_", ["_"]),
    ],
)
def test_a_dot_belongs_to_a_name_only_inside(text: str, found: list[str]) -> None:
    assert words(text) == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("-0", 0),
        ("-17", -17),
        (str(2**256 - 1), 2**256 - 1),
        ("1.0", real(1.0)),
        ("1.", real(1.0)),
        (".5", real(0.5)),
        ("-.5", real(-0.5)),
        ("1e3", real(1000.0)),
        ("1E+16", real(1e16)),
        ("2.5e-7", real(2.5e-7)),
        ("-0.0", real(0.0)),
        ("1e-999", real(0.0)),
        ("true", TRUE),
        ("false", FALSE),
        ("null", None),
    ],
)
def test_a_constant_is_of_the_type_that_it_is_written_in(text: str, expected: Value) -> None:
    found = value(text)
    assert (type(found), found) == (type(expected), expected)


@pytest.mark.parametrize(
    "text",
    [
        *("007", "00", "0x10", "1_000", "3abc", "1.2.3", "1e", "2²", "1e999", "-1e999"),
        str(2**256),
        "1" * 1001,
    ],
)
def test_what_is_no_number_that_a_cell_holds_is_refused(text: str) -> None:
    assert refusal(f"p({text})") == ["bad-number"]


@pytest.mark.parametrize("text", ["True", "False", "None", "TRUE", "Null"])
def test_python_words_for_truth_are_variables(text: str) -> None:
    assert parse_atom(Source("t", f"p({text})")).terms == (Variable(text),)


@pytest.mark.parametrize(
    ("text", "compatible", "strict"),
    [
        ('""', "", ""),
        ("'it\"s'", 'it"s', 'it"s'),
        (r'"\\"', r"\\", "\\"),
        (r'"\""', r"\"", '"'),
        (r"'\''", r"\'", "'"),
        (r'"a\nb\tc\r"', r"a\nb\tc\r", "a\nb\tc\r"),
        (r'"\u00e9\U0001F600"', r"\u00e9\U0001F600", "é😀"),
        (r'e"\n\""', '\n"', '\n"'),
        (r"e'x'", "x", "x"),
        ('"a\tb"', "a\tb", "a\tb"),
        ('"日本 \u200d"', "日本 \u200d", "日本 \u200d"),
    ],
)
def test_a_string_is_as_written_and_has_escapes_in_strict_mode_or_behind_an_e(
    text: str, compatible: str, strict: str
) -> None:
    assert value(text) == compatible
    assert value(text, Mode.STRICT) == strict


@pytest.mark.parametrize("text", [r'"\d"', r'"\x41"', r'"\u12"', r'"\ud800"', r'"\U00110000"'])
def test_an_escape_that_is_none_is_refused_in_strict_mode_only(text: str) -> None:
    assert value(text) == text[1:-1]
    assert refusal(f"p({text})", Mode.STRICT) == ["bad-escape"]


@pytest.mark.parametrize("comment", ["// c", "# c", "/* c */", "/**/", "/***/", "/* a * / b */"])
def test_comments_are_no_words(comment: str) -> None:
    found, comments = tokens(Findings(Source("t", f"p {comment}\nq")))
    assert [token.text for token in found] == ["p", "q", ""]
    assert [token.text for token in comments] == [comment]


@pytest.mark.parametrize("comment", ["/*", "/*/", "/* a *", "/* a /* b"])
def test_a_comment_that_is_not_closed_is_told(comment: str) -> None:
    assert refusal(f"p {comment}") == ["unclosed-comment"]


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert words("\ufeffp") == ["p"]
    assert refusal("p\ufeff") == ["bad-character"]


def test_line_ends_of_any_system_are_blanks_but_not_a_lone_return() -> None:
    assert words("p\r\nq") == ["p", "q"]
    assert refusal("p\r") == ["hidden-character"]


@pytest.mark.parametrize(
    "code", [0x00, 0x08, 0x0B, 0x1B, 0x7F, 0x85, 0x202E, 0x2066, 0x200F, 0x2028, 0xD800]
)
@pytest.mark.parametrize("text", ["p{}(1)", 'p("{}")', "p // {}", "/* {} */ p"])
def test_a_character_that_nobody_sees_is_refused_wherever_it_stands(code: int, text: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_atom(Source("t", text.format(chr(code))))
    (fault,) = [one for one in caught.value.faults if one.code == "hidden-character"]
    assert f"U+{code:04X}" in fault.message
    assert fault.span.text == chr(code)


def test_letters_of_another_alphabet_are_named_by_their_code_point() -> None:
    with pytest.raises(Refused) as caught:
        parse_atom(Source("t", "pаyload(1)"))
    (fault,) = caught.value.faults
    assert "U+0430 CYRILLIC SMALL LETTER A" in fault.message
    assert fault.span.start == 1


def test_a_text_of_too_many_characters_is_not_looked_at() -> None:
    assert refusal("\0" * (lexer.CHARACTERS_MOST + 1)) == ["too-large"]


def test_a_text_of_too_many_words_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexer, "TOKENS_MOST", 4)
    assert words("p ( 1 )") == ["p", "(", "1", ")"]
    assert refusal("p ( 1 ) .") == ["too-large"]


def test_a_string_longer_than_a_cell_is_refused() -> None:
    assert refusal(f'p("{"x" * 1_000_001}")') == ["bad-string"]


def test_only_the_first_faults_are_told_and_that_there_are_more() -> None:
    codes = refusal("\0" * 100)
    assert codes == ["hidden-character"] * lexer.FAULTS_MOST + ["too-many-faults"]


def test_a_shown_word_is_short_and_visible() -> None:
    assert lexer.shown("x" * 100) == f"`{'x' * 37}...`"
    assert lexer.shown("a\u202eb") == "`a<U+202E>b`"
