"""Reserved attributes, patches, filters, limits and the table of deletions."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.errors import BadRequest, ConfigError
from transom.queue.api import query
from transom.queue.config import QueueConfig
from transom.queue.logic.attributes import (
    RESERVED,
    DeadLetters,
    attributes_of,
    checked_text,
    shown,
)
from transom.queue.logic.deletion import Standing, refusal
from transom.queue.logic.limits import claim_terms, within
from transom.queue.logic.patch import patched
from transom.queue.logic.selection import QueueFilter
from transom.queue.model import (
    Change,
    ClaimUnknown,
    KeyMissing,
    MessageClaimed,
    MetadataTooLarge,
    NotClaimed,
    OutOfRange,
)

CONFIG = QueueConfig()
KEYS = st.text(min_size=1, max_size=5).filter(lambda key: key not in RESERVED)


def escaped(key: str) -> str:
    return "/metadata/" + key.replace("~", "~0").replace("/", "~1")


@given(st.dictionaries(KEYS, st.integers()), KEYS, st.integers())
def test_add_then_remove_leaves_the_rest(before: dict[str, int], key: str, value: int) -> None:
    added = patched(before, [Change("add", escaped(key), value, True)])
    assert added == before | {key: value}
    removed = patched(added, [Change("remove", escaped(key))])
    assert removed == {name: item for name, item in before.items() if name != key}


@given(st.dictionaries(KEYS, st.integers()), KEYS)
def test_only_what_is_there_is_replaced_or_removed(before: dict[str, int], key: str) -> None:
    for change in (Change("replace", escaped(key), 1, True), Change("remove", escaped(key))):
        if key in before:
            patched(before, [change])
        else:
            with pytest.raises(KeyMissing):
                patched(before, [change])


def test_a_patch_does_not_touch_what_it_was_given() -> None:
    before = {"a": 1}
    patched(before, [Change("add", "/metadata/b", 2, True), Change("remove", "/METADATA/a")])
    assert before == {"a": 1}


def test_reserved_attributes_can_always_be_replaced_and_removed() -> None:
    for key in RESERVED:
        assert patched({}, [Change("replace", f"/metadata/{key}", 1, True)]) == {key: 1}
        assert patched({}, [Change("remove", f"/metadata/{key}")]) == {}


def test_null_is_the_default_and_is_shown_as_such() -> None:
    assert shown({"_default_message_ttl": None}, CONFIG)["_default_message_ttl"] == 3600
    assert shown({"free": None}, CONFIG)["free"] is None


def test_dead_letters_need_a_queue_and_may_have_a_count() -> None:
    def read(**metadata: Any) -> DeadLetters | None:
        return attributes_of(msgspec.json.encode(metadata).decode()).dead_letters

    assert read(_dead_letter_queue="d") == DeadLetters("d", None, None)
    assert read(_max_claim_count=3) is None
    assert read(_dead_letter_queue="d", _max_claim_count=3) == DeadLetters("d", 3, None)


def test_long_metadata_are_read_like_short_ones() -> None:
    text = checked_text("q", {"_default_message_ttl": 70, "pad": "x" * 2000}, CONFIG)
    assert attributes_of(text).message_ttl_s == 70


def test_metadata_may_fill_their_limit_and_no_byte_more() -> None:
    most = CONFIG.max_queue_metadata_bytes - len('{"a":""}')
    assert len(checked_text("q", {"a": "x" * most}, CONFIG)) == CONFIG.max_queue_metadata_bytes
    with pytest.raises(MetadataTooLarge):
        checked_text("q", {"a": "x" * (most + 1)}, CONFIG)


@pytest.mark.parametrize(
    ("exists", "held", "named", "alive", "why"),
    [
        (False, False, False, False, None),
        (False, False, True, False, None),
        (False, True, True, True, None),
        (True, True, False, False, MessageClaimed),
        (True, False, True, False, NotClaimed),
        (True, False, True, True, NotClaimed),
        (True, True, True, False, ClaimUnknown),
        (True, True, True, True, MessageClaimed),
    ],
)
def test_why_a_message_stays(
    exists: bool, held: bool, named: bool, alive: bool, why: type | None
) -> None:
    got = refusal(Standing(exists, held, named, alive))
    assert (None if got is None else type(got)) is why


@given(st.integers(), st.integers(), st.integers())
def test_bounds_are_inclusive(value: int, least: int, most: int) -> None:
    if least <= value <= most:
        assert within("It", value, least, most) == value
    else:
        with pytest.raises(OutOfRange):
            within("It", value, least, most)


def test_terms_not_given_are_the_defaults() -> None:
    terms = claim_terms(None, None, CONFIG)
    assert (terms.ttl_s, terms.grace_s) == (300, 60)


@pytest.mark.parametrize(
    ("value", "asked", "admitted"),
    [(1, "1", True), (1, "01", False), ("1", "1", True), (True, "true", True), (None, "", False)],
)
def test_metadata_are_compared_as_a_query_has_them(value: Any, asked: str, admitted: bool) -> None:
    assert QueueFilter(metadata=(("k", asked),)).admits("q", {"k": value}) is admitted


@pytest.mark.parametrize("text", ["true", "True", "t", "yes", "y", "1", "on"])
def test_what_is_true(text: str) -> None:
    assert query.flag({"x": text}, "x")


@pytest.mark.parametrize("text", ["false", "False", "f", "no", "n", "0", "off", ""])
def test_what_is_false(text: str) -> None:
    assert not query.flag({"x": text}, "x")


@pytest.mark.parametrize("text", ["TRUE", "2", "nope"])
def test_what_is_neither(text: str) -> None:
    with pytest.raises(BadRequest):
        query.flag({"x": text}, "x")


@pytest.mark.parametrize("text", ["x", "1.0", "１", "--1", "1" * 19, "-"])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(BadRequest):
        query.number({"x": text}, "x")


@pytest.mark.parametrize(("text", "number"), [("", None), (" ", None), ("-3", -3), (" 7 ", 7)])
def test_numbers(text: str, number: int | None) -> None:
    assert query.number({"x": text}, "x") == number


@pytest.mark.parametrize(
    "limits",
    [{"max_message_ttl_s": 100}, {"max_claim_ttl_s": 100}, {"default_message_delay_s": 901}],
)
def test_defaults_beyond_their_limits_are_refused_at_start(limits: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="default_"):
        QueueConfig(**limits)
