"""Names as an admin writes them, and the searches that follow from them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.errors import BadRequest
from transom.keys.logic.names import (
    SPLITS_MOST,
    check_party,
    check_pattern,
    fits_any,
    names_of,
    own_of,
    patterns_for,
    splits,
)
from transom.messaging.security.names import is_member

NAMES = st.from_regex(r"[a-c_][a-c_.:@-]{0,6}", fullmatch=True)
PATTERNS = st.builds(str.__add__, NAMES, st.sampled_from(["", "*"])) | st.just("*")


@pytest.mark.parametrize("name", ["scheduler.host1", "a.b.c", "volume.host@lvm", "_.x"])
def test_a_party_is_a_topic_and_a_server(name: str) -> None:
    assert check_party(name) == name


@pytest.mark.parametrize(
    "name", ["", "scheduler", "scheduler.", ".host", "a b.c", "a/b.c", "a.é", "a." + "x" * 254]
)
def test_what_is_no_party_is_refused(name: str) -> None:
    with pytest.raises(BadRequest, match=r"TOPIC\.SERVER"):
        check_party(name)


@pytest.mark.parametrize("pattern", ["feed", "feed.*", "f*", "*", "scheduler.host1"])
def test_a_pattern_is_a_name_or_a_beginning(pattern: str) -> None:
    assert check_pattern(pattern) == pattern


@pytest.mark.parametrize("pattern", ["", "**", "fe*ed", "feed.**", "feed *"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(BadRequest, match="beginning of names"):
        check_pattern(pattern)


def test_all_patterns_of_a_name_fit_it() -> None:
    assert patterns_for("a.b") == ["a.b", "*", "a*", "a.*", "a.b*"]
    assert own_of("scheduler") == "scheduler.*"
    assert fits_any("scheduler.host1", ["x", "scheduler.*"])
    assert fits_any("scheduler.host1", ["scheduler.host1"])
    assert not fits_any("scheduler.host1", ["scheduler", "compute.*"])
    assert not fits_any("scheduler.host1", [])


@given(NAMES, PATTERNS)
def test_the_two_ways_of_searching_agree(name: str, pattern: str) -> None:
    first, end = names_of(pattern)
    fits = fits_any(name, [pattern])
    assert fits == (first <= name < end)
    assert fits == (pattern in patterns_for(name))
    assert fits == is_member("nobody", [pattern], name)


def test_a_destination_may_be_split_at_each_dot() -> None:
    assert list(splits("a")) == []
    assert list(splits("a.b.c")) == [("a", "b.c"), ("a.b", "c")]
    assert len(list(splits("a" + ".x" * 100))) == SPLITS_MOST


def test_the_names_of_a_pattern_are_a_range() -> None:
    assert names_of("a.b") == ("a.b", "a.b!")
    assert names_of("a.*") == ("a.", "a/")
    assert names_of("*") == ("", "\x7f")
