# SPDX-License-Identifier: Apache-2.0
"""The file of a party's keys."""

import pytest

from transom.errors import ConfigError
from transom.messaging.security.keyfile import KeyFile, decode_key_file, encode_key_file


def test_a_key_file_is_read_as_it_was_written() -> None:
    file = KeyFile(
        name="work.h1", server="http://127.0.0.1:1/keys", keys=(bytes(32), bytes([1] * 32)),
        authorities=(bytes([2] * 32),), identity=b"i", certificate=b"c",
    )  # fmt: skip
    assert decode_key_file(encode_key_file(file), "f") == file


def test_a_key_file_shows_no_key() -> None:
    file = KeyFile(name="work.h1", keys=(b"K" * 32,), identity=b"IDENTITY")
    assert repr(file) == str(file) == "KeyFile('work.h1', '')"


@pytest.mark.parametrize(
    ("text", "said"),
    [(b"", "no JSON"), (b"{", "no JSON"), (b"\xff", "no JSON"), (b"{}", "no key file"),
     (b'{"name": "a.b", "x": 1}', "no key file"), (b'{"name": ""}', "name"),
     (b'{"name": "a.b", "keys": ["AAAA"]}', "32 bytes"),
     (b'{"name": "a.b", "keys": ["!"]}', "no key file")],
    ids=str,
)  # fmt: skip
def test_what_is_no_key_file_is_refused_and_no_key_is_told(text: bytes, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        decode_key_file(text, "where")
    assert "where" in error.value.text
    assert "AAAA" not in error.value.text
