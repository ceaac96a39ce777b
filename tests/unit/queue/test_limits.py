# SPDX-License-Identifier: Apache-2.0
"""What a request may hold, what a queue's attributes may say, and patches that make no sense."""

from typing import Any

import pytest

from transom.errors import BadRequest
from transom.queue.config import QueueConfig
from transom.queue.logic.attributes import NO_ATTRIBUTES, attributes_of, checked_text
from transom.queue.logic.limits import (
    check_messages,
    check_post_size,
    claim_terms,
    release_delay,
    within,
)
from transom.queue.logic.patch import patched
from transom.queue.logic.selection import QueueFilter
from transom.queue.model import (
    Change,
    ClaimId,
    DeliveryState,
    InvalidAttribute,
    InvalidQueueName,
    KeyMissing,
    MessageId,
    NewMessage,
    OutOfRange,
    PostTooLarge,
    Stats,
    check_pool_name,
    check_queue_name,
    claim_from,
    claim_text,
)

CONFIG = QueueConfig()


def message(ttl_s: int | None = None, delay_s: int | None = None) -> NewMessage:
    return NewMessage(b"{}", ttl_s, delay_s)


def test_as_many_messages_as_the_limit_are_taken_and_not_one_more() -> None:
    most = CONFIG.max_messages_per_post
    check_messages([message()] * most, CONFIG)
    with pytest.raises(PostTooLarge, match=str(most + 1)):
        check_messages([message()] * (most + 1), CONFIG)


@pytest.mark.parametrize(
    "given",
    [
        message(ttl_s=CONFIG.max_message_ttl_s + 1),
        message(ttl_s=0),
        message(delay_s=CONFIG.max_message_delay_s + 1),
        message(delay_s=-1),
    ],
)
def test_a_life_or_delay_beyond_its_limits_is_refused(given: NewMessage) -> None:
    check_messages([message(ttl_s=CONFIG.max_message_ttl_s, delay_s=0)], CONFIG)
    with pytest.raises(OutOfRange):
        check_messages([message(), given], CONFIG)


def test_a_queue_may_take_less_at_once_than_the_server() -> None:
    check_post_size(CONFIG.max_messages_post_bytes, NO_ATTRIBUTES, CONFIG)
    with pytest.raises(PostTooLarge):
        check_post_size(CONFIG.max_messages_post_bytes + 1, NO_ATTRIBUTES, CONFIG)
    small = attributes_of('{"_max_messages_post_size":10}')
    check_post_size(10, small, CONFIG)
    with pytest.raises(PostTooLarge, match="10"):
        check_post_size(11, small, CONFIG)


def test_terms_that_are_given_are_kept_within_their_limits() -> None:
    assert claim_terms(61, 62, CONFIG).grace_s == 62
    with pytest.raises(OutOfRange):
        claim_terms(CONFIG.max_claim_ttl_s + 1, 62, CONFIG)
    assert within("It", 1, 1, 1) == 1


@pytest.mark.parametrize(
    "metadata",
    [
        {"_max_messages_post_size": "10"},
        {"_max_messages_post_size": True},
        {"_default_message_ttl": CONFIG.max_message_ttl_s + 1},
        {"_dead_letter_queue": 5},
        {"_dead_letter_queue": "self"},
        {"_enable_encrypt_messages": "yes"},
        {"_enable_encrypt_messages": 0},
        {"_message_key_window": -1},
        {"_message_key_window": 86_401},
        {"_message_key_window": True},
        {"_retry_policy": []},
        {"_retry_policy": {"minimum_delay": 25}},
    ],
)
def test_attributes_that_cannot_be_are_refused_by_their_name(metadata: dict[str, Any]) -> None:
    with pytest.raises(InvalidAttribute, match=next(iter(metadata))):
        checked_text("self", metadata, CONFIG)


def test_attributes_that_are_offered_are_kept() -> None:
    given = {"_dead_letter_queue": "other", "_enable_encrypt_messages": False, "_flavor": None}
    assert checked_text("self", given, CONFIG) == (
        '{"_dead_letter_queue":"other","_enable_encrypt_messages":false,"_flavor":null}'
    )
    with pytest.raises(InvalidQueueName):
        checked_text("self", {"_dead_letter_queue": "a/b"}, CONFIG)


def test_a_patch_changes_its_keys_one_after_the_other() -> None:
    changes = [
        Change("add", "/metadata/a", 1, True),
        Change("replace", "/metadata/a", 2, True),
        Change("add", "/metadata/b~1c~0", 3, True),
        Change("remove", "/metadata/old"),
    ]
    assert patched({"old": 0}, changes) == {"a": 2, "b/c~": 3}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (Change("add", "/metadata/a"), "needs a value"),
        (Change("move", "/metadata/a", 1, True), "No operation"),
        (Change("add", "/other/a", 1, True), "/metadata/KEY"),
        (Change("add", "/metadata/a/b", 1, True), "/metadata/KEY"),
        (Change("add", "/metadata/", 1, True), "/metadata/KEY"),
        (Change("add", "x/metadata/a", 1, True), "/metadata/KEY"),
        (Change("add", "/metadata/a~2", 1, True), "tilde"),
    ],
)
def test_a_patch_that_makes_no_sense_says_why(change: Change, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        patched({}, [change])


@pytest.mark.parametrize("op", ["replace", "remove"])
def test_what_is_not_there_is_neither_replaced_nor_removed(op: str) -> None:
    with pytest.raises(KeyMissing, match="gone"):
        patched({"here": 1}, [Change(op, "/metadata/gone", 1, True)])


def test_a_filter_without_terms_admits_all() -> None:
    assert QueueFilter().admits_all
    assert not QueueFilter(name_part="q").admits_all
    assert QueueFilter(name_part="q").admits("q1", {}) is True
    assert QueueFilter(name_part="q").admits("p", {}) is False


def test_ids_read_back_and_wrong_ones_are_none() -> None:
    one = MessageId(1, -5)
    assert str(one) == "00000000-0000-0001-ffff-fffffffffffb"
    assert MessageId.parse(str(one)) == one
    claim = ClaimId(bytes(range(16)))
    assert claim_text(claim) == "00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert claim_from(claim_text(claim)) == claim
    assert claim_from("no claim") is None


def test_a_name_may_be_as_long_as_it_may_be() -> None:
    assert check_queue_name("a" * 64) == "a" * 64
    with pytest.raises(InvalidQueueName, match="64"):
        check_queue_name("a" * 65)


def test_what_is_not_claimed_is_free() -> None:
    assert Stats(total=5, claimed=2).free == 3


def test_metadata_that_say_nothing_have_no_attributes() -> None:
    assert attributes_of("{}") == attributes_of('{"free":1}') == NO_ATTRIBUTES


@pytest.mark.parametrize("metadata", [{"_flavor": 1}, {"_enable_encrypt_messages": "yes"}])
def test_what_is_offered_has_its_type(metadata: dict[str, Any]) -> None:
    with pytest.raises(InvalidAttribute, match=next(iter(metadata))):
        checked_text("work", metadata, CONFIG)


def test_a_release_waits_no_longer_than_a_message_may() -> None:
    most = CONFIG.max_message_delay_s
    assert [release_delay(given, CONFIG) for given in (None, 0, most)] == [0, 0, most]
    with pytest.raises(OutOfRange, match=str(most)):
        release_delay(most + 1, CONFIG)


def test_pools_and_flavors_are_named_as_queues_are() -> None:
    assert check_pool_name("fast.1") == "fast.1"
    for name in ("", "a b", "x" * 65):
        with pytest.raises(BadRequest, match="64"):
            check_pool_name(name)


@pytest.mark.parametrize(
    ("active", "tries", "word"),
    [(False, 1, "waits_for_confirmation"), (True, 1, "fails"), (True, 0, "delivers")],
)
def test_the_word_for_a_subscription(active: bool, tries: int, word: str) -> None:
    assert DeliveryState(active, 0, 0, tries, 0, "").word == word
