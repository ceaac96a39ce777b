import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.identity.logic.token import InvalidToken, TokenCodec, key_number
from transom.identity.model import SYSTEM, Claims, Method, Place, ScopeKind

OLD, NEW = {1: b"o" * 32}, {2: b"n" * 32}
IDS = st.binary(min_size=16, max_size=16).map(bytes.hex)
TIMES = st.integers(0, 2**53)
EPOCHS = st.integers(0, 2**31)
PROJECTS = IDS.map(lambda found: Place(ScopeKind.PROJECT, found))
DOMAINS = (IDS | st.just("default")).map(lambda found: Place(ScopeKind.DOMAIN, found))
CLAIMS = st.builds(
    Claims,
    user_id=IDS,
    place=st.none() | PROJECTS | DOMAINS | st.just(SYSTEM),
    methods=st.sampled_from(
        [
            (Method.PASSWORD,),
            (Method.TOKEN,),
            (Method.PASSWORD, Method.TOKEN),
            (Method.APPLICATION_CREDENTIAL,),
        ]
    ),
    audit_id=IDS,
    chain_id=IDS,
    issued_ms=TIMES,
    expires_ms=TIMES,
    user_epoch=EPOCHS,
    place_epoch=EPOCHS,
    credential_id=st.just("") | IDS,
)
PROJECT = Place(ScopeKind.PROJECT, "bb" * 16)
ONE = Claims("aa" * 16, PROJECT, (Method.PASSWORD,), "cc" * 16, "cc" * 16, 1, 2, 1, 1)
NONCE = b"0" * 12


@given(CLAIMS, st.binary(min_size=12, max_size=12))
def test_what_is_sealed_opens_as_it_was_and_is_short(claims: Claims, nonce: bytes) -> None:
    text = TokenCodec(OLD | NEW).seal(claims, nonce)
    assert len(text) < 255
    assert TokenCodec(OLD | NEW).open(text) == claims


@given(st.integers(0, 400), st.integers(1, 255))
def test_a_token_with_any_byte_changed_is_invalid(at: int, flip: int) -> None:
    codec = TokenCodec(OLD)
    text = codec.seal(ONE, NONCE)
    raw = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    raw[at % len(raw)] ^= flip
    with pytest.raises(InvalidToken):
        codec.open(base64.urlsafe_b64encode(raw).rstrip(b"=").decode())


@given(st.integers(0, 180))
def test_a_truncated_token_is_invalid(length: int) -> None:
    codec = TokenCodec(OLD)
    text = codec.seal(ONE, NONCE)
    with pytest.raises(InvalidToken):
        codec.open(text[: min(length, len(text) - 1)])


@given(st.text())
def test_what_is_no_token_is_invalid(text: str) -> None:
    with pytest.raises(InvalidToken):
        TokenCodec(OLD).open(text)


@pytest.mark.parametrize("spoilt", ["{}=", "{}\n", " {}", "{}.", "{}A"])
def test_a_token_has_one_text_only(spoilt: str) -> None:
    codec = TokenCodec(OLD)
    with pytest.raises(InvalidToken):
        codec.open(spoilt.format(codec.seal(ONE, NONCE)))


def test_the_last_characters_unused_bits_are_not_free() -> None:
    codec = TokenCodec(OLD)
    text = codec.seal(ONE, NONCE)
    opened = 0
    for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":
        try:
            codec.open(text[:-1] + last)
            opened += 1
        except InvalidToken:
            pass
    assert opened == 1


def test_the_newest_key_seals_and_old_ones_open_until_they_go() -> None:
    old = TokenCodec(OLD).seal(ONE, NONCE)
    both = TokenCodec(OLD | NEW)
    assert both.open(old) == ONE
    new = both.seal(ONE, NONCE)
    assert TokenCodec(NEW).open(new) == ONE
    for codec, text in ((TokenCodec(NEW), old), (TokenCodec(OLD), new)):
        with pytest.raises(InvalidToken):
            codec.open(text)


def test_a_token_sealed_by_a_foreign_key_of_the_same_number_is_invalid() -> None:
    with pytest.raises(InvalidToken):
        TokenCodec(OLD).open(TokenCodec({1: b"x" * 32}).seal(ONE, NONCE))


def test_the_text_shows_nothing_of_the_claims() -> None:
    raw = base64.urlsafe_b64decode(TokenCodec(OLD).seal(ONE, NONCE) + "==")
    assert b"\xaa" * 4 not in raw
    assert b"\xbb" * 4 not in raw


@pytest.mark.parametrize(
    ("place", "credential_id", "form"),
    [
        (None, "", 1),
        (PROJECT, "", 1),
        (PROJECT, "dd" * 16, 2),
        (Place(ScopeKind.DOMAIN, "default"), "", 2),
        (SYSTEM, "", 2),
    ],
)
def test_only_what_older_programs_understand_has_the_form_that_they_take(
    place: Place | None, credential_id: str, form: int
) -> None:
    """An older program would take a credential's token for one with all of the user's roles."""
    claims = replace(ONE, place=place, credential_id=credential_id)
    text = TokenCodec(OLD).seal(claims, NONCE)
    assert base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))[0] == form


def test_a_token_says_which_key_it_needs() -> None:
    text = TokenCodec(OLD | NEW).seal(ONE, NONCE)
    assert key_number(text) == 2
    assert not TokenCodec(OLD).has(2)
    assert TokenCodec(NEW).has(2)


def test_a_token_that_the_first_version_sealed_opens() -> None:
    text = (
        "AQAAAAEwMDAwMDAwMDAwMDAnEVge3LV0Q1jM8lw8LHo6QPZuN98CJnSuzyo4Kzrzq0pDCJoZbdVZyfRkqHNR94U-"
        "SDR2Homk0EkWIAguaqBR8cQL9o3f496ZxsGiaMAaEzEO6Ebt-4DSWgXd0STL"
    )
    methods = (Method.PASSWORD, Method.TOKEN)
    claims = Claims("aa" * 16, PROJECT, methods, "cc" * 16, "dd" * 16, 1, 2, 3, 4)
    assert TokenCodec(OLD).open(text) == claims
    assert TokenCodec(OLD).seal(claims, NONCE) == text
