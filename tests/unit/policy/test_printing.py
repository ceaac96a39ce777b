# SPDX-License-Identifier: Apache-2.0
"""Every tree has one text, which reads back as the same tree; `fmt` loses nothing."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transom.policy.datalog.faults import Refused, Source
from transom.policy.datalog.language.grammar import parse, parse_atom
from transom.policy.datalog.language.printing import format_program, text_of, value_text
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
    TableName,
    Variable,
)
from transom.policy.datalog.values import FALSE, TRUE, Value, real

BOTH = pytest.mark.parametrize("mode", Mode)


def formatted(text: str, mode: Mode = Mode.COMPATIBLE, width: int = 100) -> str:
    """As `fmt` does it; what it does holds still and means the same."""
    program = parse(Source("t", text), mode)
    done = format_program(program, mode, width)
    again = parse(Source("t", done), mode)
    assert again == program
    assert format_program(again, mode, width) == done
    return done


def read_back(text: str, mode: Mode) -> Value:
    (term,) = parse_atom(Source("t", f"p({text})"), mode).terms
    assert isinstance(term, Constant)
    return term.value


@BOTH
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (-17, "-17"),
        (2**255, str(2**255)),
        (real(1.0), "1.0"),
        (real(-0.5), "-0.5"),
        (real(1e16), "1e+16"),
        (real(1e-7), "1e-07"),
        (TRUE, "true"),
        (FALSE, "false"),
        (None, "null"),
        ("", '""'),
        ("ACTIVE", '"ACTIVE"'),
        ("true", '"true"'),
        ("it's", '"it\'s"'),
        ("日本", '"日本"'),
    ],
)
def test_a_value_prints_as_it_is_read(value: Value, text: str, mode: Mode) -> None:
    assert value_text(value, mode) == text
    found = read_back(text, mode)
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("value", "compatible", "strict"),
    [
        ('say "a"', "'say \"a\"'", r'"say \"a\""'),
        (r"\d+", r'"\d+"', r'"\\d+"'),
        (r"\"", r'"\""', r'"\\\""'),
        ("a\tb", '"a\tb"', r'"a\tb"'),
        ("both \" and '", 'e"both \\" and \'"', '"both \\" and \'"'),
        ("a\nb", r'e"a\nb"', r'"a\nb"'),
        ("a\r\nb", r'e"a\r\nb"', r'"a\r\nb"'),
        ("end\\", r'e"end\\"', r'"end\\"'),
        ("\0\x1b\u202e", r'e"\u0000\u001b\u202e"', r'"\u0000\u001b\u202e"'),
    ],
)
def test_a_string_has_escapes_only_where_it_needs_them(
    value: str, compatible: str, strict: str
) -> None:
    for mode, text in ((Mode.COMPATIBLE, compatible), (Mode.STRICT, strict)):
        assert value_text(value, mode) == text
        assert read_back(text, mode) == value


@BOTH
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (real(math.inf), "<inf>"),
        (real(-math.inf), "<-inf>"),
        (real(math.nan), "<nan>"),
    ],
)
def test_what_no_text_can_hold_prints_as_what_does_not_read_back(
    value: Value, text: str, mode: Mode
) -> None:
    assert value_text(value, mode) == text
    with pytest.raises(Refused):
        read_back(text, mode)
    with pytest.raises(Refused):
        read_back(value_text("\ud800", mode), mode)


def test_every_part_of_a_tree_has_a_text() -> None:
    text = 'execute[a:b.c+(x, sum(y), n=1, 5="z")], not p :- !q(_), true'
    (rule,) = parse(Source("t", text)).statements
    assert isinstance(rule, Rule)
    canonical = 'execute[a:b.c+(x, sum(y), n=1, 5="z")], not p :- not q(_), true'
    assert text_of(rule) == canonical
    assert text_of(Program((rule, rule))) == f"{canonical}\n{canonical}\n"
    assert text_of(Event(Modal.INSERT, rule, "a")) == f'insert[{canonical}; "a"]'
    assert text_of(rule.head.name) == "a:b.c+"
    assert text_of(rule.head.named[1]) == '5="z"'
    assert text_of(Aggregate("sum", Variable("y"))) == "sum(y)"
    assert text_of(Constant("\n"), Mode.STRICT) == r'"\n"'


def test_one_statement_stands_on_a_line_without_a_full_stop() -> None:
    assert formatted("p( x ):-q(x) ;r( 1,'a' ).s()") == 'p(x) :- q(x)\nr(1, "a")\ns\n'
    assert formatted(" ") == ""


def test_a_long_body_has_one_literal_a_line() -> None:
    text = "p(x) :- q(x), not r(x, 1), s(x)"
    assert formatted(text, width=len(text)) == f"{text}\n"
    broken = "p(x) :-\n    q(x),\n    not r(x, 1),\n    s(x)"
    assert formatted(text, width=len(text) - 1) == f"{broken}\n"
    assert formatted(f'insert[{text}; "a"] // c', width=30) == f'insert[{broken}; "a"]  // c\n'
    assert formatted("p(1, 2, 3)", width=5) == "p(1, 2, 3)\n"


def test_comments_stay_and_those_inside_a_rule_move_before_it() -> None:
    text = """
        // one

        # two
        p(x) :-  // three
           q(x), /* four */
           r(x)  # five
           .   // six
        /* seven
             goes on   */ s(1) /* eight */ /* nine */ t(1)



        // ten
        u(1) /* eleven
        */
        // twelve

        // thirteen
    """
    assert formatted(text) == (
        "// one\n\n# two\n// three\n/* four */\n# five\np(x) :- q(x), r(x)  // six\n"
        "/* seven\n             goes on   */\ns(1)  /* eight */ /* nine */\nt(1)\n\n// ten\nu(1)\n"
        "/* eleven\n        */\n// twelve\n\n// thirteen\n"
    )


def test_one_blank_line_is_kept_where_there_were_some() -> None:
    assert formatted("\n\np\nq\n\n\n\nr\n  \n// c\n\ns\n\n\n") == "p\nq\n\nr\n\n// c\n\ns\n"
    assert formatted("p\r\n\r\nq // c  \r\n") == "p\n\nq  // c\n"


def test_a_text_of_comments_alone_stays() -> None:
    assert formatted("// a\n\n/* b */ # c") == "// a\n\n/* b */\n# c\n"


def test_a_string_of_one_mode_keeps_its_meaning_in_the_other() -> None:
    (statement,) = parse(Source("t", r'p("\\d\n")'), Mode.STRICT).statements
    compatible = text_of(statement, Mode.COMPATIBLE)
    assert compatible == r'p(e"\\d\n")'
    assert parse(Source("t", compatible)).statements == (statement,)


WORDS = st.from_regex(r"[A-Za-z_]([A-Za-z0-9_.]{0,6}[A-Za-z0-9_])?", fullmatch=True)
TABLES = WORDS.filter(lambda word: word not in ("not", "NOT"))
VALUES = st.one_of(
    st.integers(-(2**256) + 1, 2**256 - 1),
    st.floats(allow_nan=False, allow_infinity=False).map(real),
    st.sampled_from([TRUE, FALSE, None]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.text("\\\"'\n\r\tnu0", max_size=6),
)
VARIABLES = WORDS.filter(lambda word: word not in ("true", "false", "null")).map(Variable)
TERMS = st.one_of(VALUES.map(Constant), VARIABLES)
HEAD_TERMS = TERMS | st.builds(
    Aggregate, st.sampled_from(["count", "sum", "min", "max"]), VARIABLES
)
NAMES = st.one_of(
    st.builds(TableName, st.none(), TABLES, st.sampled_from(["", "+", "-"])),
    st.builds(TableName, TABLES, WORDS | st.just("a:b"), st.sampled_from(["", "+", "-"])),
)


def atoms(terms: st.SearchStrategy[Constant | Variable | Aggregate]) -> st.SearchStrategy[Atom]:
    columns = st.integers(5, 999) | WORDS
    named = st.lists(st.builds(Named, columns, terms), max_size=2, unique_by=lambda one: one.column)
    by_place = st.lists(terms, max_size=4).map(tuple)
    return st.builds(Atom, NAMES, by_place, named.map(tuple), st.none() | st.sampled_from(Modal))


HEADS = st.lists(st.builds(Literal, atoms(HEAD_TERMS), st.booleans()), min_size=1, max_size=2)
BODIES = st.lists(st.builds(Literal, atoms(TERMS), st.booleans()), min_size=1, max_size=4)
FACTS = atoms(HEAD_TERMS).map(lambda atom: Rule((Literal(atom),)))
RULES = st.builds(Rule, HEADS.map(tuple), BODIES.map(tuple))
EVENTS = st.builds(
    Event,
    st.sampled_from([Modal.INSERT, Modal.DELETE]),
    FACTS | RULES,
    st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
)
ACTIONS = FACTS.filter(lambda rule: rule.head.modal not in (Modal.INSERT, Modal.DELETE))
"""Of a fact with another modal, an event is made."""
STATEMENTS = st.lists(ACTIONS | RULES | EVENTS, max_size=4)


@settings(max_examples=150, deadline=None)
@given(STATEMENTS, st.sampled_from(Mode), st.integers(1, 120))
def test_any_tree_reads_back_from_its_text(
    statements: list[Rule | Event], mode: Mode, width: int
) -> None:
    program = Program(tuple(statements))
    for text in (text_of(program, mode), format_program(program, mode, width)):
        assert parse(Source("t", text), mode) == program


@settings(max_examples=200, deadline=None)
@given(VALUES, st.sampled_from(Mode))
def test_any_value_reads_back_as_the_same_value_of_the_same_type(value: Value, mode: Mode) -> None:
    found = read_back(value_text(value, mode), mode)
    assert (type(found), found) == (type(value), value)


PIECES = [
    "p(1)", "q(x) :-", " r(x),", " s(x)", ".", "\n", "\n\n\n", " ",
    "// c{}\n", "/* c{} */", "/* c{}\n\n x */", "# c{}\n",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25), st.integers(5, 60))
def test_no_comment_is_lost_wherever_it_stands(pieces: list[str], width: int) -> None:
    text = "".join(piece.format(f"<{place}>") for place, piece in enumerate(pieces))
    try:
        done = formatted(text, width=width)
    except Refused:
        return
    wanted = [f"c<{place}>" for place, piece in enumerate(pieces) if "{}" in piece]
    assert [comment for comment in wanted if done.count(comment) != 1] == []
    assert "\n\n\n" not in done.replace("\n\n x", "")


@settings(max_examples=200, deadline=None)
@given(*(st.lists(st.sampled_from([*PIECES, "p+", "not", "insert[p]"]), max_size=8),) * 2)
def test_a_text_means_what_its_halves_mean(first: list[str], second: list[str]) -> None:
    texts = ["".join(pieces) for pieces in (first, second)]
    try:
        halves = [parse(Source("t", text)).statements for text in texts]
    except Refused:
        return
    assert parse(Source("t", "\n".join(texts))).statements == (*halves[0], *halves[1])
