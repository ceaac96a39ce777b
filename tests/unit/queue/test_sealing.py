# SPDX-License-Identifier: Apache-2.0
"""A body opens where it was sealed for, as it was sealed, and nowhere else."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from transom.queue.logic import sealing
from transom.queue.model import BodyLocked

KEY, OTHER = AESGCM(b"k" * 32), AESGCM(b"o" * 32)
NONCE = b"n" * sealing.NONCE_BYTES
PLAIN = b'{"text": "nobody may read this"}'
SEALED = sealing.sealed(KEY, NONCE, PLAIN, "p1", 3)


def test_what_is_sealed_shows_nothing_and_opens() -> None:
    assert b"nobody" not in SEALED
    assert len(SEALED) == sealing.NONCE_BYTES + len(PLAIN) + sealing.TAG_BYTES
    assert sealing.opened(KEY, SEALED, "p1", 3) == PLAIN
    assert sealing.opened(KEY, sealing.sealed(KEY, NONCE, b"", "p", 1), "p", 1) == b""


@pytest.mark.parametrize(
    ("key", "project_id", "generation"), [(OTHER, "p1", 3), (KEY, "p2", 3), (KEY, "p1", 4)]
)
def test_it_opens_under_its_key_for_its_project_only(
    key: AESGCM, project_id: str, generation: int
) -> None:
    with pytest.raises(BodyLocked):
        sealing.opened(key, SEALED, project_id, generation)


def test_project_and_generation_cannot_be_taken_for_each_other() -> None:
    body = sealing.sealed(KEY, NONCE, PLAIN, "1\n2", 3)
    with pytest.raises(BodyLocked):
        sealing.opened(KEY, body, "2", 31)


def test_every_bit_counts() -> None:
    for place in range(len(SEALED)):
        for bit in range(8):
            changed = bytearray(SEALED)
            changed[place] ^= 1 << bit
            with pytest.raises(BodyLocked):
                sealing.opened(KEY, bytes(changed), "p1", 3)


def test_no_beginning_of_it_opens() -> None:
    for length in range(len(SEALED)):
        with pytest.raises(BodyLocked):
            sealing.opened(KEY, SEALED[:length], "p1", 3)


def test_a_key_seals_for_a_week() -> None:
    assert not sealing.is_worn(1000, 1000 + sealing.KEY_LIFE_MS - 1)
    assert sealing.is_worn(1000, 1000 + sealing.KEY_LIFE_MS)
