"""The bus key: made once, read by its owner alone, and never shown."""

import base64
import os
import stat
from pathlib import Path

import pytest
import zmq

from transom.errors import ConfigError, InvalidTransportURL
from transom.messaging.drivers.zmq.key import BusKey, make_bus_key


def test_a_made_key_is_of_its_owner_alone_and_gives_the_same_pairs_to_all(tmp_path: Path) -> None:
    path = tmp_path / "bus.key"
    make_bus_key(path, random=lambda count: b"k" * count)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = BusKey.read(path)
    assert key == BusKey.of(b"k" * 32)
    assert key != BusKey.of(b"l" * 32)
    assert len({key.server.public, key.server.secret, key.client.public, key.client.secret}) == 4
    for pair in (key.server, key.client):
        assert zmq.curve_public(pair.secret) == pair.public


def test_pairs_are_those_of_the_format_s_first_version() -> None:
    key = BusKey.of(bytes(range(32)))
    assert key.server.public == b"G%s:NZPga)PXd}0:Lj>u+{/v2^v*Cdm=a@opb:pX"
    assert key.client.public == b"<1BU)>t{FnQ^{YA(OG^QQp%n%{41W49z%NGoC2oU"


def test_a_key_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "bus.key"
    make_bus_key(path)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="is there already"):
        make_bus_key(path)
    assert path.read_bytes() == before


def test_a_key_in_no_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        make_bus_key(tmp_path / "no" / "bus.key")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620])
def test_a_key_that_others_may_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "bus.key"
    make_bus_key(path)
    path.chmod(mode)
    with pytest.raises(InvalidTransportURL, match="chmod 600"):
        BusKey.read(path)


def test_a_key_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bus.key"
    make_bus_key(path)
    os.chown(path, 4242, -1)
    with pytest.raises(InvalidTransportURL, match="belongs to user 4242"):
        BusKey.read(path)


@pytest.mark.parametrize(
    "content", [b"", b"short", base64.b64encode(b"x" * 31), b"\xff" * 44, b"A" * 5000]
)
def test_what_is_no_key_is_refused_and_not_shown(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bus.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(InvalidTransportURL, match="is no bus key") as caught:
        BusKey.read(path)
    assert "short" not in str(caught.value).replace(str(path), "")


def test_a_missing_key_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidTransportURL, match="every host of the bus"):
        BusKey.read(tmp_path / "none")
    tmp_path.chmod(0o700)
    with pytest.raises(InvalidTransportURL, match="no file"):
        BusKey.read(tmp_path)


def test_nothing_secret_shows() -> None:
    key = BusKey.of(b"k" * 32)
    for shown in (repr(key), repr(key.server), str(key.client)):
        assert key.server.secret.decode() not in shown
        assert key.client.secret.decode() not in shown
