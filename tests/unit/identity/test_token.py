import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.identity.logic.token import InvalidToken, TokenCodec
from transom.identity.model import Claims, Method

OLD, NEW = {1: b"o" * 32}, {2: b"n" * 32}
IDS = st.binary(min_size=16, max_size=16).map(bytes.hex)
TIMES = st.integers(0, 2**53)
EPOCHS = st.integers(0, 2**31)
CLAIMS = st.builds(
    Claims,
    user_id=IDS,
    project_id=st.just("") | IDS,
    methods=st.sampled_from([(Method.PASSWORD,), (Method.TOKEN,), (Method.PASSWORD, Method.TOKEN)]),
    audit_id=IDS,
    chain_id=IDS,
    issued_ms=TIMES,
    expires_ms=TIMES,
    user_epoch=EPOCHS,
    project_epoch=EPOCHS,
)
ONE = Claims("aa" * 16, "bb" * 16, (Method.PASSWORD,), "cc" * 16, "cc" * 16, 1, 2, 1, 1)
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
