"""Secrets at rest: what is sealed opens here, under its key, and nowhere else."""

import base64
import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.cli.keystone import PASSWORD_FILE
from transom.errors import ConfigError
from transom.runtime.sealing import (
    MASTER_KEY_FILE,
    Sealer,
    make_once,
    master_keys,
    rotate,
    sealer_of,
)
from transom.runtime.secrets import Secret

NONE = Secret("")
OLD, NEW = bytes(32), bytes(range(32))


@given(st.binary(max_size=300), st.text(max_size=20))
def test_what_is_sealed_opens_for_its_purpose_only(plain: bytes, purpose: str) -> None:
    sealer = Sealer(lambda: [NEW], os.urandom)
    sealed = sealer.seal(plain, purpose)
    assert sealer.open(sealed, purpose) == plain
    assert len(plain) < 8 or plain not in sealed
    with pytest.raises(ConfigError, match="changed, or moved"):
        sealer.open(sealed, purpose + "x")


def test_any_changed_byte_is_found() -> None:
    sealer = Sealer(lambda: [NEW], os.urandom)
    sealed = sealer.seal(b"secret", "p")
    for at in range(len(sealed)):
        with pytest.raises(ConfigError):
            sealer.open(sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], "p")
        with pytest.raises(ConfigError):
            sealer.open(sealed[:at], "p")


def test_the_first_key_seals_and_every_key_opens() -> None:
    before = Sealer(lambda: [OLD], os.urandom).seal(b"secret", "p")
    both = Sealer(lambda: [NEW, OLD], os.urandom)
    assert both.open(before, "p") == b"secret"
    assert not both.is_current(before)
    assert both.is_current(both.seal(b"secret", "p"))
    with pytest.raises(ConfigError, match="which is not here"):
        Sealer(lambda: [NEW], os.urandom).open(before, "p")


@pytest.mark.parametrize(
    "text", ["", " ,\n", "abc", base64.b64encode(bytes(31)).decode(), "ä" * 44]
)
def test_what_is_no_master_key_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ConfigError, match="master key") as refused:
        master_keys(text, "here")
    assert len(text) < 4 or text not in str(refused.value)


def test_processes_that_start_at_once_agree_on_the_master_key(tmp_path: Path) -> None:
    def sealed(_: int) -> bytes:
        return sealer_of(tmp_path, NONE, os.urandom).seal(b"secret", "p")

    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(sealed, range(16)))
    sealer = sealer_of(tmp_path, NONE, os.urandom)
    assert all(sealer.open(value, "p") == b"secret" for value in values)
    assert [path.name for path in tmp_path.iterdir()] == [MASTER_KEY_FILE]
    assert (tmp_path / MASTER_KEY_FILE).stat().st_mode & 0o777 == 0o600


def test_given_keys_leave_no_key_in_the_folder(tmp_path: Path) -> None:
    sealer_of(tmp_path, Secret(base64.b64encode(NEW).decode()), os.urandom).seal(b"x", "p")
    assert not list(tmp_path.iterdir())


def test_rotation_seals_everything_again_and_keeps_the_key_before(tmp_path: Path) -> None:
    first = sealer_of(tmp_path, NONE, os.urandom)
    first.write(tmp_path / "a.key", b"alpha")
    os.utime(tmp_path / "a.key", (1, 2))
    (tmp_path / "plain").write_bytes(b"not sealed")
    (tmp_path / "plain").chmod(0o600)
    said: list[str] = []
    rotate(tmp_path, NONE, os.urandom, said.append)
    assert said == ["a new master key is in place", "sealed again: a.key"]
    second = sealer_of(tmp_path, NONE, os.urandom)
    assert second.read(tmp_path / "a.key") == b"alpha"
    assert (tmp_path / "a.key").stat().st_mtime == 2
    assert (tmp_path / "plain").read_bytes() == b"not sealed"
    assert second.open(first.seal(b"late", "p"), "p") == b"late"  # by a process that still runs
    first.write(tmp_path / "late.key", b"late")
    assert first.read(tmp_path / "a.key") == b"alpha"  # it looks for the key that it lacks
    rotate(tmp_path, NONE, os.urandom, said.append)  # what came late is carried over, too
    third = sealer_of(tmp_path, NONE, os.urandom)
    assert third.read(tmp_path / "late.key") == b"late"
    assert third.read(tmp_path / "a.key") == b"alpha"
    assert len((tmp_path / MASTER_KEY_FILE).read_text().split()) == 2


def test_a_process_that_runs_over_two_rotations_seals_under_a_key_that_is_kept(
    tmp_path: Path,
) -> None:
    running = sealer_of(tmp_path, NONE, os.urandom)
    running.seal(b"first", "p")
    for _ in range(2):
        rotate(tmp_path, NONE, os.urandom, lambda _: None)
    late = running.seal(b"late", "p")
    fresh = sealer_of(tmp_path, NONE, os.urandom)
    assert fresh.open(late, "p") == b"late"
    assert fresh.is_current(late)
    assert late.startswith(fresh.head)


def test_what_lies_elsewhere_is_sealed_before_a_master_key_is_dropped(tmp_path: Path) -> None:
    kept = [sealer_of(tmp_path, NONE, os.urandom).seal(b"elsewhere", "p")]
    masters: list[list[str]] = []

    def elsewhere(sealer: Sealer) -> list[str]:
        masters.append((tmp_path / MASTER_KEY_FILE).read_text().split())
        if sealer.is_current(kept[0]):
            return []
        kept[0] = sealer.seal(sealer.open(kept[0], "p"), "p")
        return ["a row"]

    said: list[str] = []
    for _ in range(3):
        rotate(tmp_path, NONE, os.urandom, said.append, elsewhere)
    assert said == ["a new master key is in place", "sealed again: a row"] * 3
    assert sealer_of(tmp_path, NONE, os.urandom).open(kept[0], "p") == b"elsewhere"
    assert [len(keys) for keys in masters] == [1, 2, 2, 2, 2, 2]

    def failing(sealer: Sealer) -> list[str]:
        raise ConfigError("the database is away")

    before = (tmp_path / MASTER_KEY_FILE).read_bytes()
    with pytest.raises(ConfigError, match="is away"):
        rotate(tmp_path, NONE, os.urandom, said.append, failing)
    assert (tmp_path / MASTER_KEY_FILE).read_bytes() == before


def test_rotation_with_given_keys_seals_under_the_first(tmp_path: Path) -> None:
    old, new = (base64.b64encode(key).decode() for key in (OLD, NEW))
    sealer_of(tmp_path, Secret(old), os.urandom).write(tmp_path / "a.key", b"alpha")
    rotate(tmp_path, Secret(f"{new},{old}"), os.urandom, lambda _: None)
    assert sealer_of(tmp_path, Secret(new), os.urandom).read(tmp_path / "a.key") == b"alpha"


def test_a_rotation_that_cannot_open_something_changes_nothing(tmp_path: Path) -> None:
    sealer_of(tmp_path, NONE, os.urandom).write(tmp_path / "a.key", b"alpha")
    Sealer(lambda: [OLD], os.urandom).write(tmp_path / "b.key", b"beta")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ConfigError, match=r"b\.key"):
        rotate(tmp_path, NONE, os.urandom, lambda _: None)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_rotations_at_once_lose_nothing(tmp_path: Path) -> None:
    """Of two, each with a new master key, one used to drop the other's."""
    first = sealer_of(tmp_path, NONE, os.urandom)
    names = [f"token-{number}.key" for number in range(4)]
    for name in names:
        first.write(tmp_path / name, name.encode())

    def rotated(_: int) -> None:
        with contextlib.suppress(ConfigError):  # told to wait
            rotate(tmp_path, NONE, os.urandom, lambda _: None)

    for _ in range(10):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(rotated, range(4)))
        sealer = sealer_of(tmp_path, NONE, os.urandom)
        assert [sealer.read(tmp_path / name).decode() for name in names] == names


def test_a_rotation_beside_another_is_told_so(tmp_path: Path) -> None:
    def in_the_middle(_: str) -> None:
        with pytest.raises(ConfigError, match="another process"):
            rotate(tmp_path, NONE, os.urandom, lambda _: None)

    rotate(tmp_path, NONE, os.urandom, in_the_middle)
    rotate(tmp_path, NONE, os.urandom, lambda _: None)


def test_what_a_person_has_to_read_is_not_sealed(tmp_path: Path) -> None:
    (tmp_path / PASSWORD_FILE).write_text("of the service user")
    rotate(tmp_path, NONE, os.urandom, lambda _: None)
    assert (tmp_path / PASSWORD_FILE).read_text() == "of the service user"


def test_what_another_made_first_stays(tmp_path: Path) -> None:
    make_once(tmp_path / "x", b"first", os.urandom)
    make_once(tmp_path / "x", b"second", os.urandom)
    assert (tmp_path / "x").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_what_the_first_version_left_plain_is_read_and_sealed_by_a_rotation(tmp_path: Path) -> None:
    (tmp_path / "service.password").write_bytes(b"plain")
    (tmp_path / "service.password").chmod(0o600)
    sealer = sealer_of(tmp_path, NONE, os.urandom)
    assert sealer.read(tmp_path / "service.password") == b"plain"
    rotate(tmp_path, NONE, os.urandom, lambda _: None)
    assert b"plain" not in (tmp_path / "service.password").read_bytes()
    assert sealer.read(tmp_path / "service.password") == b"plain"
