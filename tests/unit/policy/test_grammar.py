# SPDX-License-Identifier: Apache-2.0
"""The tree that a text stands for, and which texts are none."""

import gc
import json
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transom.policy.datalog import values
from transom.policy.datalog.faults import Refused, Source
from transom.policy.datalog.language import grammar, lexer
from transom.policy.datalog.language.grammar import parse, parse_atom, parse_query, parse_rule
from transom.policy.datalog.language.printing import format_program, text_of
from transom.policy.datalog.language.syntax import (
    Aggregate,
    Atom,
    Constant,
    Event,
    Literal,
    Modal,
    Mode,
    Named,
    Rule,
    TableName,
    Variable,
)

CASES = Path(__file__).parents[2] / "conformance" / "policy" / "cases.jsonl"
REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "policy-language.md"
X, Y = Variable("x"), Variable("y")


def read(text: str) -> list[str]:
    """The statements of a text, each as it is printed."""
    return [text_of(statement) for statement in parse(Source("t", text)).statements]


def codes(text: str, reading: Callable[[Source], object] = parse) -> list[str]:
    with pytest.raises(Refused) as caught:
        reading(Source("t", text))
    return [fault.code for fault in caught.value.faults]


def first(text: str) -> Atom:
    (statement,) = parse(Source("t", text)).statements
    assert isinstance(statement, Rule)
    return statement.head


@pytest.mark.parametrize("text", ["", " \n", "// nothing", "/* */", ".", "; ."])
def test_a_text_may_say_nothing(text: str) -> None:
    assert read(text) == []


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("p(1) q(2)", ["p(1)", "q(2)"]),
        ("p(1). q(2); r", ["p(1)", "q(2)", "r"]),
        ("p(1).q(2)", ["p(1)", "q(2)"]),
        ("p(1);;q(2)..", ["p(1)", "q(2)"]),
        ("p(x) :- q(x) r(x) :- s(x)", ["p(x) :- q(x)", "r(x) :- s(x)"]),
        ("p(x) :- q(x,y), r(z)q(1,2)q(2,3)", ["p(x) :- q(x, y), r(z)", "q(1, 2)", "q(2, 3)"]),
        ("p q :- r s.", ["p", "q :- r", "s"]),
        ("p :- q.\nr :- s", ["p :- q", "r :- s"]),
        ("p//c\nq#c\r\nr/*c*/s//", ["p", "q", "r", "s"]),
        ("p(x) :- q(x) !r(x) :- s(x)", ["p(x) :- q(x)", "not r(x) :- s(x)"]),
    ],
)
def test_statements_end_where_their_grammar_ends(text: str, statements: list[str]) -> None:
    assert read(text) == statements


def test_a_dot_between_two_letters_ends_no_statement() -> None:
    assert read("p :- q.r") == ["p :- q.r"]
    assert codes("p:-q.r:-s") == ["syntax"]


@pytest.mark.parametrize("text", ["p", "p()", "p( )", " p . "])
def test_a_table_of_no_columns_needs_no_parentheses(text: str) -> None:
    assert parse(Source("t", text)).statements == (Rule((Literal(Atom(TableName(None, "p"))),)),)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("nova:servers.pause", TableName("nova", "servers.pause")),
        ("a:b:c", TableName("a", "b:c")),
        ("a:b:c:d", TableName("a", "b:c:d")),
        ("p+", TableName(None, "p", "+")),
        ("test2:p-(1)", TableName("test2", "p", "-")),
        ("nova : p (1)", TableName("nova", "p")),
        ("nova:delete(1)", TableName("nova", "delete")),
        ("nova:not(1)", TableName("nova", "not")),
        ("execute(1)", TableName(None, "execute")),
        ("insert", TableName(None, "insert")),
        ("delete:p", TableName("delete", "p")),
        ("Not(1)", TableName(None, "Not")),
        ("and(1)", TableName(None, "and")),
    ],
)
def test_names_of_tables(text: str, name: TableName) -> None:
    assert first(text).name == name


def test_a_sign_is_the_tables_only_where_it_touches_it() -> None:
    assert codes("p + (x)") == ["syntax"]
    assert codes("my-table(x)") == ["bad-name"]
    assert read("p-(-1)") == ["p-(-1)"]


def test_arguments_by_place_then_by_name() -> None:
    atom = first("p(x, 'a', _, name=y, 7=1, not=true)")
    assert atom.terms == (X, Constant("a"), Variable("_"))
    assert [(one.column, text_of(one.term)) for one in atom.named] == [
        ("name", "y"),
        (7, "1"),
        ("not", "true"),
    ]
    assert codes("p(x=1, y, x=2)") == ["misplaced-argument", "duplicate-column"]
    assert codes("p(x, 0=y)") == ["duplicate-column"]
    assert codes("p(1, 0.0=y)") == codes("p(-1=y)") == codes("p(1000=y)") == ["bad-column"]


def test_words_of_the_language_are_variables_inside_parentheses() -> None:
    assert first("p(not, execute, insert)").terms == tuple(
        map(Variable, ("not", "execute", "insert"))
    )


@pytest.mark.parametrize("word", ["not ", "NOT ", "!", "! "])
def test_negation_in_body_and_head(word: str) -> None:
    rule = parse_rule(Source("t", f"{word}p(x) :- {word}q(x)"))
    assert [one.negated for one in (*rule.heads, *rule.body)] == [True, True]


def test_several_heads_need_a_body() -> None:
    assert read("q(1), r(1) :- true") == ["q(1), r(1) :- true"]
    assert codes("q(1), r(1)") == ["syntax"]
    assert codes("not p(1)") == ["negated-fact"]


def test_modals() -> None:
    rule = parse_rule(Source("t", "execute[nova:servers.pause(x)] :- insert[p(x)], not delete[q]"))
    assert [one.atom.modal for one in (*rule.heads, *rule.body)] == list(Modal)
    assert rule.head.name == TableName("nova", "servers.pause")
    assert codes("execute[execute[p]] :- q") == ["syntax"]
    assert codes("execute[not p] :- q") == ["syntax"]


def test_aggregates_stand_in_heads() -> None:
    rule = parse_rule(Source("t", "used(t, sum(size), n=count(id)) :- volumes(id, t, size)"))
    assert rule.head.terms[1] == Aggregate("sum", Variable("size"))
    assert rule.head.named[0] == Named("n", Aggregate("count", Variable("id")))
    for text in ("p(x) :- q(min(x))", "p(f(x)) :- q(x)"):
        assert codes(text) == ["misplaced-call"]
    for text in ("p(min(1))", "p(max(true))", "p(sum())", "p(sum(x,y))"):
        assert codes(text) == ["syntax"]


@pytest.mark.parametrize(
    ("text", "event"),
    [
        ("insert[p(x) :- q(x)]", Event(Modal.INSERT, parse_rule(Source("t", "p(x) :- q(x)")))),
        ("delete[p; 'a b']", Event(Modal.DELETE, parse_rule(Source("t", "p")), "a b")),
        ("insert[p(1)]", Event(Modal.INSERT, parse_rule(Source("t", "p(1)")))),
        ("insert[p(1)] q", Event(Modal.INSERT, parse_rule(Source("t", "p(1)")))),
        (
            "insert[execute[p] :- q; \"x\"].",
            Event(Modal.INSERT, parse_rule(Source("t", "execute[p] :- q")), "x"),
        ),
        ("insert[p, q :- r]", Event(Modal.INSERT, parse_rule(Source("t", "p, q :- r")))),
    ],
)  # fmt: skip
def test_a_change_of_rules_is_an_event(text: str, event: Event) -> None:
    assert parse(Source("t", text)).statements[0] == event


def test_insert_and_delete_before_a_body_are_heads() -> None:
    assert first("insert[p(x)] :- q(x)").modal is Modal.INSERT
    assert read("delete[p], q :- r") == ["delete[p], q :- r"]
    assert codes("insert[insert[p]] :- r") == ["syntax"]
    assert codes("insert[p :- q; nova]") == ["syntax"]
    assert codes('insert[p :- q; "nova"') == ["syntax"]
    assert codes('insert[p :- q; "nova]') == ["unclosed-string"]
    assert codes("insert[p :- q;") == ["syntax"]


def test_places_are_those_of_the_text() -> None:
    text = "  execute[nova:p+(x, a=1)] :- not q(sum), r('z')  . // end"
    rule = parse_rule(Source("t", text))
    assert rule.span.text == text.strip().split("  .")[0]
    assert rule.heads[0].span.text == rule.head.span.text == "execute[nova:p+(x, a=1)]"
    assert rule.head.name.span.text == "nova:p+"
    assert rule.head.named[0].span.text == "a=1"
    assert rule.body[0].span.text == "not q(sum)"
    assert rule.body[0].atom.span.text == "q(sum)"
    assert rule.body[1].atom.terms[0].span.text == "'z'"
    event = parse(Source("t", ' insert[p(x) :- q(x); "y"] ')).statements[0]
    assert event.span.text == 'insert[p(x) :- q(x); "y"]'
    head = first("n(count(x)) :- p(x)")
    assert head.terms[0].span.text == "count(x)"


def test_one_rule_one_atom_one_query() -> None:
    assert text_of(parse_rule(Source("t", " p(x) :- q(x) ; // c"))) == "p(x) :- q(x)"
    assert parse_rule(Source("t", "// a\np(1) // b")).comments == ("// a",)
    assert text_of(parse_atom(Source("t", "execute[nova:p(x)]."))) == "execute[nova:p(x)]"
    for text in ("p(x)", "not p(x)", "p(x) :- q(x), r(x)", "n(sum(x)) :- q(x)"):
        assert text_of(parse_query(Source("t", text))) == text
    for reading in (parse_rule, parse_atom, parse_query):
        assert codes("p(1) q(1)", reading) == ["syntax"]
        assert codes("", reading) == ["syntax"]
        assert codes("p(1). q(1)", reading) == ["syntax"]
        assert codes("p(007)", reading) == ["bad-number"]
    assert codes("not p(x)", parse_atom) == ["syntax"]
    assert codes("p(count(x))", parse_query) == ["misplaced-call"]
    assert codes("insert[p :- q]", parse_rule) == ["syntax"]
    assert parse_rule(Source("t", r'p("\t")'), Mode.STRICT).head.terms == (Constant("\t"),)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("p(\nq(\nr(1)", [2]),
        ("p(x. q(y. r(1)", [1, 1]),
        ("p(x) :- q(x\nr(1)\ns(2 t", [2, 3]),
        ("p(x :- q(x),\n  r(x),\n  s(x)\nt(", [1, 4]),
        ("  p(x y)\n  q(x y)\n", [1, 2]),
        ("p(x y)\n  and_so_on(x y)\nq(x y)\n", [1, 3]),
        ("p(x y) !q(x)\n!q(x y) :- r", [1, 2]),
        ('insert[p(x; "a"]\nq(5 5)', [1, 2]),
        ("5\n5\n5 . 5", [1, 3]),
        ("p(x) :- q(x == 1),\nr(x y)\n", [1]),
        ("p(x) € € q(x)\nr(x y)", [1, 1, 2]),
    ],
)
def test_after_a_fault_the_next_statement_is_read(text: str, lines: list[int]) -> None:
    with pytest.raises(Refused) as caught:
        parse(Source("t", text))
    found = [fault.span.source.line_column(fault.span.start)[0] for fault in caught.value.faults]
    assert found == lines


def test_a_bad_word_is_told_once() -> None:
    assert codes("p(“a”, x€) :- q") == ["bad-string", "bad-character"]
    assert codes('p(1, "abc)\nq(1)') == ["unclosed-string"]
    assert codes("€") == ["bad-character"]


def test_limits_are_told_with_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grammar, "STATEMENTS_MOST", 3)
    assert read("p p p") == ["p", "p", "p"]
    assert codes("p p p p") == ["too-large"]
    assert codes("p :- " + "q," * 100_000 + "q") == ["too-large"]
    assert codes("p(" + "x," * grammar.ARGUMENTS_MOST + "x)") == ["too-large"]
    assert len(parse_rule(Source("t", "p :- " + "q," * 9_999 + "q")).body) == 10_000
    assert len(first("p(" + "x," * 999 + "x)").terms) == 1_000


def recorded() -> Iterator[str]:
    for line in CASES.read_text().splitlines():
        for call in json.loads(line)["calls"]:
            if call["op"] in ("insert", "delete", "select", "simulate"):
                yield call["args"][0]
                yield call["kw"].get("sequence", "")


def test_all_recorded_texts_are_of_the_grammar() -> None:
    """Those that were refused were so for what they mean, not for how they are written."""
    texts = set(recorded())
    assert len(texts) > 400
    for text in texts:
        statements = parse(Source("t", text)).statements
        again = "\n".join(map(text_of, statements))
        assert parse(Source("t", again)).statements == statements


HOSTILE = {
    "open parentheses": "p(" * 8,
    "open brackets": "insert[" * 3,
    "closing": ")]",
    "literals": "q(x),",
    "statements that fail": "p(;",
    "lines that fail": "p(\n ",
    "indented lines that fail": "\n p(x y",
    "comments in comments": "/* ",
    "comment ends": "*/ ",
    "quotes": "'\"",
    "quotes on lines": "'\n",
    "three quotes": "''' \"\"\" ",
    "other quotes": "“",
    "backslashes": '"\\',
    "dots": ".",
    "dots in a name": "a...",
    "digits": "1",
    "numbers": "p(1.e+1.e+1)",
    "colons": "a:",
    "nothing visible": "\0",
    "other alphabets": "ра ",
    "negations": "not !",
    "columns": "p(a=1,a=2,",
    "comments": "p /* */ // c\n",
    "blank lines": "\n\n//\n\n",
    "conjunctions": "p and ",
    "equals": "p = ",
}


@pytest.mark.alone
@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("before", ["", "p :- "])
def test_the_time_is_linear_in_a_hostile_text(piece: str, before: str) -> None:
    def cost_s(count: int) -> float:
        source = Source("t", before + piece * (count // len(piece)))
        best = 60.0
        gc.collect()
        gc.disable()  # it would visit what other tests have left, too
        try:
            for _ in range(2):
                begin = time.process_time()
                with suppress(Refused):
                    parse(source)
                best = min(best, time.process_time() - begin)
        finally:
            gc.enable()
        return best

    # Eight times the text takes eight times as long, and sixty-four times if it is quadratic.
    assert cost_s(32_000) < 24 * cost_s(4_000) + 0.01


FRAGMENTS = [
    *"()[],.;:=!+-_'\"\\/*# \n\t€“\0",
    ":-", "//", "/*", "*/", "not ", "execute[", "insert[", "p", "q(x)", "x", "1", "-2.5", "'a'",
    '"b"', "true", "count(", "name=", "0=", "nova:", "p(x) :- q(x), not r(x, 1)\n", "e'\\n'",
    "and ",
]  # fmt: skip
VALID = """// all
p(x, "a") :- nova:servers(id=x, name="a"), not q(x), lt(x, -2.5). // r
insert[execute[a:b.c(x)] :- p(x); "pol"] n(t, count(x)) :- p(x, t)
q(1); q(2) /* c */ r+ :- true
"""


def settled(text: str, mode: Mode) -> None:
    """The text is refused, or printing it and reading it again changes nothing."""
    with suppress(Refused):
        program = parse(Source("t", text), mode)
        printed = format_program(program, mode)
        again = parse(Source("t", printed), mode)
        assert again == program
        assert format_program(again, mode) == printed
    for reading in (parse_rule, parse_atom, parse_query):
        with suppress(Refused):
            reading(Source("t", text), mode)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join), st.sampled_from(Mode))
def test_any_pieces_are_read_or_refused(text: str, mode: Mode) -> None:
    settled(text, mode)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60), st.sampled_from(Mode))
def test_any_text_is_read_or_refused(text: str, mode: Mode) -> None:
    settled(text, mode)


@pytest.mark.parametrize("seed", range(20))
def test_a_valid_text_with_random_changes_is_read_or_refused(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(20):
        text = VALID
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(text))
            change = chance.choice(["", text[at] * 2, chance.choice(FRAGMENTS)])
            text = text[:at] + change + text[at + chance.randrange(3) :]
        settled(text, chance.choice(list(Mode)))


def test_the_reference_says_what_the_code_does() -> None:
    text = REFERENCE.read_text()
    (shown,) = re.findall(r"```ebnf\n(.*?)```", text, re.S)
    assert shown.split() == (grammar.__doc__ or "").split("\n\n")[1].split()
    example = text.split("```")[1]
    assert format_program(parse(Source("t", example))) == example.lstrip("\n")
    for most in (
        grammar.STATEMENTS_MOST,
        grammar.LITERALS_MOST,
        grammar.ARGUMENTS_MOST,
        lexer.CHARACTERS_MOST,
        lexer.TOKENS_MOST,
        lexer.NUMBER_CHARACTERS_MOST,
        lexer.FAULTS_MOST,
        values.TEXT_CHARACTERS_MOST,
        values.INTEGER_BITS_MOST,
    ):
        assert f"| {most:,} |" in text
    sources = [Path(module.__file__ or "").read_text() for module in (grammar, lexer)]
    told = set(re.findall(r'(?:add|complain|refuse|Fault)\(\s*"([a-z-]+)"', "".join(sources)))
    assert len(told) > 12
    assert [code for code in told if f"`{code}`" not in text] == []
