# SPDX-License-Identifier: Apache-2.0
"""Requests, grants and tickets: each for one party, one time and one destination."""

import pytest
from msgspec.structs import replace

from transom.errors import Expired, InvalidSignature, WrongDestination
from transom.messaging.security import tickets
from transom.messaging.security.sealing import derive, framed, identify, seal, write
from transom.messaging.security.tickets import Grant, Label, Purpose, Request, Ticket

from support.security_parts import NOW_MS, SKEW_MS
from virtual import seeded_randomness

RANDOM = seeded_randomness(2)
KEY, OTHER = RANDOM(32), RANDOM(32)
REQUEST = Request(Purpose.TICKET, "api.a", "work.h1", 0, NOW_MS, RANDOM(16), RANDOM(32), RANDOM(32))
GRANT = Grant(
    REQUEST.nonce, Purpose.TICKET, "api.a", "work.h1", NOW_MS, 1000, b"c", (bytes(32),),
    bytes(32), 0, b"t",
)  # fmt: skip
TICKET = Ticket("api.a", "work.h1", NOW_MS, 1000, bytes(32), b"c")


def checked(data: bytes, key: bytes = KEY, *, now_ms: int = NOW_MS) -> Request:
    return tickets.check_request(data, key, now_ms=now_ms, skew_ms=SKEW_MS)


def test_a_request_is_taken_with_its_partys_key_and_in_its_time() -> None:
    data = tickets.make_request(REQUEST, KEY)
    assert tickets.read_request(data) == checked(data) == REQUEST
    assert checked(data, now_ms=NOW_MS + SKEW_MS) == REQUEST
    with pytest.raises(InvalidSignature):
        checked(data, OTHER)
    for now_ms in (NOW_MS - SKEW_MS - 1, NOW_MS + SKEW_MS + 1):
        with pytest.raises(Expired):
            checked(data, now_ms=now_ms)


def test_every_altered_byte_of_a_request_is_refused() -> None:
    data = tickets.make_request(REQUEST, KEY)
    for at in range(len(data)):
        with pytest.raises(InvalidSignature):
            checked(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    for bad in (b"", data[:-1], data + b"\0", bytes(tickets.REQUEST_BYTES_MAX + 1)):
        with pytest.raises(InvalidSignature):
            checked(bad)


@pytest.mark.parametrize(
    "wrong", [{"nonce": b""}, {"signing_key": b""}, {"agreement_key": bytes(33)}], ids=str
)
def test_a_request_with_fields_of_another_length_is_refused(wrong: dict) -> None:
    with pytest.raises(InvalidSignature):
        checked(tickets.make_request(replace(REQUEST, **wrong), KEY))


def test_a_grant_answers_its_request_and_no_other() -> None:
    data = tickets.seal_grant(GRANT, KEY, RANDOM)
    assert tickets.open_grant(data, KEY, REQUEST) == GRANT
    for key, request in ((OTHER, REQUEST), (KEY, replace(REQUEST, nonce=RANDOM(16)))):
        with pytest.raises(InvalidSignature):
            tickets.open_grant(data, key, request)
    for changes in ({"source": "evil.e"}, {"purpose": Purpose.ENROL}):
        data = tickets.seal_grant(replace(GRANT, **changes), KEY, RANDOM)
        with pytest.raises(WrongDestination):
            tickets.open_grant(data, KEY, REQUEST)


@pytest.mark.parametrize("generation", [0, 7])
def test_a_ticket_opens_with_the_key_of_its_destination(generation: int) -> None:
    data = tickets.issue_ticket(TICKET, KEY, RANDOM, generation=generation)
    assert tickets.read_label(data) == Label("work.h1", generation, identify(KEY))
    assert tickets.open_ticket(data, [OTHER, KEY]) == TICKET
    for keys in ([], [OTHER]):
        with pytest.raises(InvalidSignature):
            tickets.open_ticket(data, keys)
    for at in range(len(data)):
        with pytest.raises(InvalidSignature):
            tickets.open_ticket(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], [KEY])
    with pytest.raises(InvalidSignature):
        tickets.read_label(bytes(tickets.TICKET_BYTES_MAX + 1))


def test_a_ticket_and_a_grant_show_no_key() -> None:
    assert repr(TICKET) == "Ticket('api.a', 'work.h1')"
    assert repr(replace(GRANT, key=b"K" * 32)) == "Grant('ticket', 'api.a', 'work.h1')"


def test_a_ticket_whose_label_names_another_is_refused() -> None:
    """Only who has the key could make it."""
    label = write(Label("other.o", 0, identify(KEY)))
    purpose = "transom ticket 1"
    sealed = seal(derive(KEY, purpose, label), write(TICKET), framed(purpose, label), RANDOM)
    with pytest.raises(WrongDestination):
        tickets.open_ticket(write((label, sealed)), [KEY])
