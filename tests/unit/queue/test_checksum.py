# SPDX-License-Identifier: Apache-2.0
"""Checksums are those that a real Zaqar shows. Source: its `storage.utils.get_checksum`."""

import json
from typing import Any

import pytest

from transom.queue.logic.checksum import checksum_of


@pytest.mark.parametrize(
    ("body", "digits"),
    [
        ({"a": [1, "é", None, 1.5]}, "e543a958b6a03d95a6b8b54605d18524"),
        ("x", "3fbf839fa0e778a20326ddc34f5cd588"),
        (7, "8f14e45fceea167a5a36dedd4bea2543"),
        ([], "d751713988987e9331980363e24189ce"),
        ("", "9d4568c009d203ab10e33ea9953a0264"),
        (False, "68934a3e9455fa72420237eb05902327"),
    ],
)
def test_is_that_of_a_real_zaqar_however_the_body_was_written(body: Any, digits: str) -> None:
    for written in (
        json.dumps(body),
        json.dumps(body, ensure_ascii=False, separators=(",", ":")),
        json.dumps(body, indent=2),
    ):
        assert checksum_of(written.encode()) == f"MD5:{digits}"


def test_null_has_none_nor_has_what_cannot_be_read_again() -> None:
    assert checksum_of(b"null") is None
    assert checksum_of(b"1" * 5000) is None
