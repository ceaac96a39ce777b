"""Ids of messages and clients, and names of queues."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.queue.model import (
    ClaimId,
    InvalidQueueName,
    MessageId,
    check_queue_name,
    claim_from,
    claim_text,
    uuid_bytes,
)

SEQUENCES = st.integers(0, 2**63 - 1)
TOKENS = st.integers(-(2**63), 2**63 - 1)


@given(SEQUENCES, TOKENS)
def test_a_message_id_is_a_uuid_and_reads_back_in_every_form(sequence: int, token: int) -> None:
    message_id = MessageId(sequence, token)
    text = str(message_id)
    assert str(uuid.UUID(text)) == text
    for form in (text, text.replace("-", ""), text.upper()):
        assert MessageId.parse(form) == message_id


@given(SEQUENCES, SEQUENCES, TOKENS, TOKENS)
def test_texts_of_ids_sort_as_their_places_do(
    one: int, two: int, one_token: int, two_token: int
) -> None:
    if one != two:
        assert (str(MessageId(one, one_token)) < str(MessageId(two, two_token))) == (one < two)


@given(st.binary(min_size=16, max_size=16))
def test_a_claim_id_reads_back(raw: bytes) -> None:
    assert claim_from(claim_text(ClaimId(raw))) == raw


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "0" * 31,
        "0" * 33,
        "g" * 32,
        "0" * 36,
        "00000000-0000-0000-0000-00000000000",
        "0000000-00000-0000-0000-000000000000",
        "00000000-0000-0000-0000-0000000000-0",
        "{00000000-0000-0000-0000-00000000000}",
        " " + "0" * 31,
        "٠" * 32,
    ],
)
def test_what_is_no_uuid_is_none(text: str) -> None:
    assert uuid_bytes(text) is None
    assert MessageId.parse(text) is None


def test_a_place_beyond_what_a_database_holds_is_no_id() -> None:
    assert MessageId.parse("8" + "0" * 31) is None


@pytest.mark.parametrize("name", ["", "a\n", "a b", "é", "a/b", "a" * 65])
def test_names_of_other_characters_are_refused(name: str) -> None:
    with pytest.raises(InvalidQueueName):
        check_queue_name(name)
