# SPDX-License-Identifier: Apache-2.0
"""Faults as a person sees them: `slips/*.txt` hold a text and, below dashes, what is said of it."""

from pathlib import Path

import pytest

from transom.policy.datalog.faults import Fault, Refused, Severity, Source, Span
from transom.policy.datalog.language.grammar import parse
from transom.policy.datalog.language.rendering import rendered, rendered_all

SLIPS = sorted((Path(__file__).parent / "slips").glob("*.txt"))


@pytest.mark.parametrize("path", SLIPS, ids=lambda path: path.stem)
def test_a_slip_is_told_as_a_person_wants_it(path: Path) -> None:
    text, said = path.read_bytes().decode("utf-8", "surrogatepass").split("\n----\n")
    with pytest.raises(Refused) as caught:
        parse(Source("rules.dl", text))
    assert rendered_all(caught.value.faults) == said


def test_slips_are_many() -> None:
    assert len(SLIPS) > 35


SOURCE = Source("f", "p(x) :- q(y)\nr(z)\n")


def fault(
    start: int, end: int, source: Source = SOURCE, severity: Severity = Severity.ERROR
) -> Fault:
    return Fault("code", "what", Span(source, start, end), severity)


def carets(text: str, start: int, end: int) -> str:
    return rendered(fault(start, end, Source("f", text))).splitlines()[-1].split("|")[1]


def test_what_no_text_holds_has_no_picture() -> None:
    assert rendered(Fault("code", "what", hint="do")) == "error[code]: what\n = hint: do\n"


def test_faults_are_counted_by_their_severity() -> None:
    warning = fault(0, 1, severity=Severity.WARNING)
    assert rendered_all([]) == ""
    assert rendered_all([warning]).endswith("\n\n1 warning\n")
    assert rendered_all([fault(0, 1), warning, warning]).endswith("\n\n1 error, 2 warnings\n")
    assert rendered(warning).startswith("warning[code]: what\n --> f:1:1\n")


def test_colours_change_nothing_else() -> None:
    bright = rendered(fault(2, 3), colour=True)
    assert "\x1b[1;31merror[code]\x1b[0m" in bright
    plain = bright
    for escape in ("\x1b[1;31m", "\x1b[1;34m", "\x1b[1m", "\x1b[0m"):
        plain = plain.replace(escape, "")
    assert plain == rendered(fault(2, 3))


def test_of_several_lines_the_first_is_shown() -> None:
    assert carets(SOURCE.text, 8, 17) == "         ^^^^"


@pytest.mark.parametrize("place", [12, 17, 18])
def test_the_end_of_a_line_or_a_text_is_a_place(place: int) -> None:
    line, column = SOURCE.line_column(place)
    assert carets(SOURCE.text, place, place) == " " * column + "^"
    assert f"f:{line}:{column}" in rendered(fault(place, place))


def test_numbers_of_lines_are_below_each_other() -> None:
    source = Source("f", "p\n" * 120)
    far = Fault("code", "what", Span(source, 200, 201), related=(("near", Span(source, 2, 3)),))
    assert rendered(far).splitlines()[1:] == [
        "   --> f:101:1",
        "    |",
        "101 | p",
        "    | ^",
        "    = near:",
        "   --> f:2:1",
        "    |",
        "  2 | p",
        "    | ^",
    ]


def test_carets_stand_below_what_is_wide_narrow_or_hidden() -> None:
    assert carets("日本x", 2, 3) == "     ^"
    assert carets("日本x", 0, 2) == " ^^^^"
    assert carets("e\u0301x", 2, 3) == "  ^"
    assert carets("\u202ex", 1, 2) == " " * 9 + "^"
    assert carets("\t\tx", 2, 3) == " " * 9 + "^"
    assert carets("\x1b[31mx", 0, 1) == " " + "^" * 8


def test_no_control_character_of_a_text_reaches_the_terminal() -> None:
    text = "".join(map(chr, range(0x20))) + "\x7f\x85\u202e"
    for start in range(len(text)):
        shown = rendered(Fault("code", "what", Span(Source("f", text), start, start + 1)))
        assert all(one.isprintable() or one == "\n" for one in shown)


def test_only_a_part_of_a_long_line_is_shown() -> None:
    text = "x" * 1_000_000
    for start in (0, 30, 500_000, 999_990, 1_000_000):
        shown = rendered(fault(start, start + 500, Source("f", text)))
        assert max(map(len, shown.splitlines())) < 130
        assert shown.splitlines()[-1].endswith("^")
    assert "…" not in rendered(fault(0, 1, Source("f", "x" * 110)))
    assert "…\n" in rendered(fault(0, 1, Source("f", "x" * 111)))
