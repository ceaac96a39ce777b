# SPDX-License-Identifier: Apache-2.0
"""The primitives: framing tells fields apart, keys tell purposes apart, nothing altered opens."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.errors import InvalidSignature
from transom.messaging.security import sealing

from virtual import seeded_randomness

RANDOM = seeded_randomness(1)
fields = st.lists(st.binary(max_size=6), max_size=4)


@given(fields, fields)
def test_two_lists_of_fields_never_give_the_same_bytes(
    one: list[bytes], other: list[bytes]
) -> None:
    assert (sealing.framed("p", *one) == sealing.framed("p", *other)) is (one == other)
    assert (sealing.pack(*one, b"") == sealing.pack(*other, b"")) is (one == other)


@given(fields)
def test_what_is_packed_is_unpacked(parts: list[bytes]) -> None:
    assert sealing.unpack(sealing.pack(*parts), len(parts)) == parts


@pytest.mark.parametrize("data", [b"", b"\0\0\0\1", b"\0\0\0\1ab", b"\xff\xff\xff\xff", b"\0"])
def test_bytes_that_do_not_fill_their_parts_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidSignature):
        sealing.unpack(data, 1)


def test_a_key_is_for_one_purpose_and_its_fields() -> None:
    key = bytes(32)
    made = [
        sealing.derive(key, "a"),
        sealing.derive(key, "b"),
        sealing.derive(key, "a", "x"),
        sealing.derive(key, "a", "x", "y"),
        sealing.derive(key, "a", "xy"),
        sealing.derive(bytes([1] * 32), "a"),
    ]
    assert len(set(made)) == len(made)


def test_what_was_sealed_opens_with_its_key_and_what_was_beside_it() -> None:
    key, other = RANDOM(32), RANDOM(32)
    sealed = sealing.seal(key, b"secret", b"beside", RANDOM)
    assert sealing.unseal(key, sealed, b"beside") == b"secret"
    for wrong in (
        (other, sealed, b"beside"),
        (key, sealed, b"else"),
        (key, sealed[:-1], b"beside"),
        (key, b"", b"beside"),
        (key, sealed[:14], b"beside"),
    ):
        with pytest.raises(InvalidSignature):
            sealing.unseal(*wrong)


def test_signatures_and_agreements_hold_for_their_keys_only() -> None:
    signing = sealing.new_signing_key(RANDOM)
    public = signing.public_key().public_bytes_raw()
    sealing.verify(public, signing.sign(b"x"), b"x")
    for key, signature in ((public, b"y" * 64), (public, b""), (b"short", signing.sign(b"x"))):
        with pytest.raises(InvalidSignature):
            sealing.verify(key, signature, b"x")
    one, other = sealing.new_agreement_key(RANDOM), sealing.new_agreement_key(RANDOM)
    assert sealing.agree(one, other.public_key().public_bytes_raw()) == sealing.agree(
        other, one.public_key().public_bytes_raw()
    )
    for bad in (b"short", bytes(32)):
        with pytest.raises(InvalidSignature):
            sealing.agree(one, bad)


@given(st.binary(max_size=40))
def test_bytes_are_a_struct_or_are_refused(data: bytes) -> None:
    with suppress(InvalidSignature):
        assert isinstance(sealing.read(data, tuple[int, str], "thing"), tuple)


def test_comparison_is_of_all_bytes() -> None:
    mac = sealing.authenticate(bytes(32), b"x")
    assert sealing.same(mac, sealing.authenticate(bytes(32), b"x"))
    assert not sealing.same(mac, mac[:-1] + bytes([mac[-1] ^ 1]))
    assert sealing.read(sealing.write((1, "a")), tuple[int, str], "thing") == (1, "a")
    with pytest.raises(InvalidSignature, match="no thing"):
        sealing.read(b"\xc1", tuple[int, str], "thing")
    assert len(sealing.identify(b"x")) == sealing.ID_BYTES
