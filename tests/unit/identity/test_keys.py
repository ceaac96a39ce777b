import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from transom.errors import ConfigError
from transom.identity.logic.token import TokenCodec
from transom.identity.model import Claims, Method
from transom.identity.store.keys import KeyRing
from transom.runtime.secrets import write_private

ONE = Claims("aa" * 16, "", (Method.PASSWORD,), "cc" * 16, "cc" * 16, 1, 2, 1, 1)


def loaded(folder: Path) -> TokenCodec:
    ring = KeyRing(folder, os.urandom)
    ring.load()
    return ring.codec


def test_processes_that_start_at_once_agree_on_the_first_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        codecs = list(threads.map(loaded, [tmp_path / "keys"] * 8))
    text = codecs[0].seal(ONE, b"n" * 12)
    assert all(codec.open(text) == ONE for codec in codecs)
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["token-1.key"]


def test_folder_and_files_are_their_owners_alone(tmp_path: Path) -> None:
    loaded(tmp_path / "keys")
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "keys" / "token-1.key").stat().st_mode & 0o777 == 0o600


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    loaded(tmp_path / "keys")
    (tmp_path / "keys" / "token-1.key").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        loaded(tmp_path / "keys")


def test_a_key_of_a_wrong_length_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir(mode=0o700)
    write_private(tmp_path / "keys" / "token-1.key", b"short")
    with pytest.raises(ConfigError, match="no key"):
        loaded(tmp_path / "keys")


def test_a_second_key_seals_and_the_first_goes_on_to_open(tmp_path: Path) -> None:
    old = loaded(tmp_path / "keys").seal(ONE, b"n" * 12)
    write_private(tmp_path / "keys" / "token-2.key", b"k" * 32)
    codec = loaded(tmp_path / "keys")
    assert codec.open(old) == ONE
    assert TokenCodec({2: b"k" * 32}).open(codec.seal(ONE, b"n" * 12)) == ONE
