"""Which messages of a post are new; what is remembered of dead letters; where they go back to."""

import pytest

from transom.queue.config import QueueConfig
from transom.queue.logic.attributes import attributes_of
from transom.queue.logic.keys import sort_out
from transom.queue.logic.letters import (
    LONGEST_TEXT,
    TRAIL_MOST,
    addressee,
    claimed_too_often,
    died,
    sent_back,
    way_back,
)
from transom.queue.logic.limits import LONGEST_KEY, check_messages, check_reason
from transom.queue.model import Death, MessageId, NewMessage, OutOfRange, Reason

CONFIG = QueueConfig()
OLD = MessageId(3, 7)


def death(text: str = "", queue: str = "work", subscription: str = "") -> Death:
    return Death(queue, str(OLD), Reason.REJECTED, text, 1, 0, 60, subscription)


def test_without_keys_all_are_new() -> None:
    found = sort_out([None, None], {})
    assert (found.fresh, found.stands_for, found.duplicates) == ((0, 1), (0, 1), ())


def test_a_known_key_stands_for_the_message_that_has_it() -> None:
    found = sort_out(["a", None, "b"], {"a": OLD})
    fresh = [MessageId(8, 1), MessageId(9, 1)]
    assert (found.fresh, found.duplicates) == ((1, 2), (0,))
    assert found.ids(fresh) == (OLD, *fresh)


def test_of_several_with_one_key_the_first_is_new() -> None:
    found = sort_out(["a", "b", "a", "a"], {})
    fresh = [MessageId(8, 1), MessageId(9, 1)]
    assert (found.fresh, found.duplicates) == ((0, 1), (2, 3))
    assert found.ids(fresh) == (fresh[0], fresh[1], fresh[0], fresh[0])


def test_the_trail_and_its_texts_are_bounded() -> None:
    deaths: tuple[Death, ...] = ()
    for number in range(TRAIL_MOST + 5):
        deaths = died(deaths, death(f"{number}" + "x" * LONGEST_TEXT))
    assert len(deaths) == TRAIL_MOST
    assert {len(one.text) for one in deaths} == {LONGEST_TEXT}
    assert deaths[0].text.startswith(f"{TRAIL_MOST + 4}x")


def test_a_letter_goes_back_to_where_it_came_from_unless_it_is_told() -> None:
    assert way_back((death(), death(queue="before")), None) == "work"
    assert way_back((death(),), "other") == "other"
    assert way_back((), None) is None
    assert way_back((death(queue=""),), None) is None


def test_a_letter_of_a_subscription_goes_to_it_unless_it_is_told_where() -> None:
    whose = MessageId(7, -1)
    letter = death(subscription=str(whose))
    assert addressee(None, sent_back((letter, death()), None)) == whose
    assert sent_back((letter, death()), "work") == (death(), death())
    assert addressee(None, sent_back((letter,), "work")) is None
    assert addressee("its id of before", (letter,)) is None, "it goes to the dead letters"
    assert addressee(None, (death(), letter)) is None, "it died as a message since"
    assert addressee(None, ()) is None


@pytest.mark.parametrize("key", ["", "x" * (LONGEST_KEY + 1), "a\0"])
def test_a_key_that_can_be_none_is_refused(key: str) -> None:
    check_messages([NewMessage(b"1", key="x" * LONGEST_KEY)], CONFIG)
    with pytest.raises(OutOfRange):
        check_messages([NewMessage(b"1", key=key)], CONFIG)


@pytest.mark.parametrize("text", ["x" * (LONGEST_TEXT + 1), "\0"])
def test_a_reason_that_can_be_none_is_refused(text: str) -> None:
    assert check_reason("x" * LONGEST_TEXT)
    with pytest.raises(OutOfRange):
        check_reason(text)


def test_a_queue_may_say_how_long_keys_are_remembered() -> None:
    assert attributes_of('{"_message_key_window": 0}').key_window_s == 0
    assert attributes_of("{}").key_window_s is None


def test_the_text_of_a_message_that_nobody_finished_says_how_often_it_was_claimed() -> None:
    assert "3 times" in claimed_too_often(3)
