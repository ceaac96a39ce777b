import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from transom.errors import ConfigError, InternalError
from transom.identity.logic.rotation import KEPT_S
from transom.identity.logic.token import InvalidToken, TokenCodec, key_number
from transom.identity.model import Claims, Method
from transom.identity.store.keys import KeyRing
from transom.runtime.sealing import sealer_of
from transom.runtime.secrets import Secret, write_private

ONE = Claims("aa" * 16, None, (Method.PASSWORD,), "cc" * 16, "cc" * 16, 1, 2, 1, 1)


def loaded(folder: Path) -> KeyRing:
    ring = KeyRing(folder, sealer_of(folder, Secret(""), os.urandom), os.urandom)
    ring.load()
    return ring


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "keys").iterdir())


def test_processes_that_start_at_once_agree_on_the_first_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        rings = list(threads.map(loaded, [tmp_path / "keys"] * 8))
    text = rings[0].seal(ONE)
    assert all(ring.open(text) == ONE for ring in rings)
    assert names(tmp_path) == ["master.key", "token-1.key"]


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
    old = loaded(tmp_path / "keys").seal(ONE)
    write_private(tmp_path / "keys" / "token-2.key", b"k" * 32)
    ring = loaded(tmp_path / "keys")
    assert ring.open(old) == ONE
    assert TokenCodec({2: b"k" * 32}).open(ring.seal(ONE)) == ONE


def test_a_rotation_is_seen_by_who_loaded_the_keys_before(tmp_path: Path) -> None:
    ring, other = loaded(tmp_path / "keys"), loaded(tmp_path / "keys")
    old = other.seal(ONE)
    assert ring.rotate(time.time()) == (2, [])
    new = ring.seal(ONE)
    assert key_number(new) == 2
    assert other.open(new) == ONE
    assert key_number(other.seal(ONE)) == 2
    assert other.open(old) == ONE


def test_a_rotation_removes_the_keys_whose_last_token_has_ended(tmp_path: Path) -> None:
    ring = loaded(tmp_path / "keys")
    old = ring.seal(ONE)
    now_s = time.time()
    ring.rotate(now_s)
    assert ring.rotate(now_s) == (3, [])
    assert ring.rotate(now_s + KEPT_S + 60) == (4, [1, 2])
    with pytest.raises(InvalidToken):
        ring.open(old)
    assert names(tmp_path) == ["master.key", "token-3.key", "token-4.key"]


def test_a_key_that_a_rotation_removes_while_it_is_read_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "keys"
    ring = loaded(folder)
    loaded(folder).rotate(time.time())
    listed = ring._files

    def removed_after() -> dict[int, Path]:
        found = listed()
        found[1].unlink(missing_ok=True)
        return found

    monkeypatch.setattr(ring, "_files", removed_after)
    assert key_number(ring.seal(ONE)) == 2


def test_a_token_of_a_key_that_is_nowhere_is_invalid(tmp_path: Path) -> None:
    ring = loaded(tmp_path / "keys")
    foreign = TokenCodec({9: b"k" * 32}).seal(ONE, b"n" * 12)
    with pytest.raises(InvalidToken):
        ring.open(foreign)


def test_without_any_key_left_nothing_is_opened_or_sealed(tmp_path: Path) -> None:
    ring = loaded(tmp_path / "keys")
    (tmp_path / "keys" / "token-1.key").unlink()
    with pytest.raises(InternalError):
        ring.seal(ONE)


def test_keys_are_used_only_once_loaded(tmp_path: Path) -> None:
    with pytest.raises(InternalError):
        KeyRing(tmp_path, sealer_of(tmp_path, Secret(""), os.urandom), os.urandom).seal(ONE)
