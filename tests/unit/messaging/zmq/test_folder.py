"""The folder: who may use it, one holder a name, only dead processes' files are removed."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from transom.errors import InvalidTransportURL
from transom.messaging.drivers.zmq.folder import Folder
from transom.messaging.drivers.zmq.ipc import IpcPlace
from transom.messaging.url import TransportURL

NAME = "0123456789abcdef"


def test_an_address_without_a_folder_is_refused() -> None:
    with pytest.raises(InvalidTransportURL, match="names neither folder nor host"):
        IpcPlace.of(TransportURL.parse("zmq://"), os.urandom)


def test_a_missing_folder_is_refused_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidTransportURL, match=r"mkdir -m 700 .*/no"):
        Folder(tmp_path / "no").check()


def test_a_folder_that_others_may_enter_is_refused_with_what_to_do(short_folder: Path) -> None:
    short_folder.chmod(0o750)
    with pytest.raises(InvalidTransportURL, match="chmod 700"):
        Folder(short_folder).check()


def test_a_folder_of_somebody_else_is_refused(
    short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    with pytest.raises(InvalidTransportURL, match="belongs to user"):
        Folder(short_folder).check()


def test_a_file_is_no_folder(short_folder: Path) -> None:
    file = short_folder / "file"
    file.touch(0o600)
    with pytest.raises(InvalidTransportURL, match="no folder"):
        Folder(file).check()


def test_a_path_is_refused_exactly_when_a_socket_in_it_could_not_be_bound() -> None:
    fits = Path("/tmp/" + "d" * (107 - 1 - 16 - len("/tmp/")))
    with pytest.raises(InvalidTransportURL, match="no such folder"):
        Folder(fits).check()
    with pytest.raises(InvalidTransportURL, match="at least 1 bytes shorter"):
        Folder(Path(str(fits) + "d")).check()
    with socket.socket(socket.AF_UNIX) as probe, pytest.raises(OSError, match="too long"):
        probe.bind(str(fits) + "d/" + NAME)


def test_a_name_has_one_holder_and_is_free_after_it(short_folder: Path) -> None:
    folder = Folder(short_folder)
    claim = folder.claim(NAME)
    assert claim is not None
    assert folder.claim(NAME) is None
    assert folder.lives(NAME)
    assert folder.living() == {NAME}
    claim.release()
    claim.release()
    assert not folder.lives(NAME)
    assert list(short_folder.iterdir()) == []


def test_a_sweep_removes_the_dead_and_spares_the_living(short_folder: Path) -> None:
    folder = Folder(short_folder)
    claim = folder.claim(NAME)
    assert claim is not None
    dead = "f" * 16
    script = (
        "import os, sys; from pathlib import Path;"
        "from transom.messaging.drivers.zmq.folder import Folder;"
        "Folder(Path(sys.argv[1])).claim(sys.argv[2]); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(short_folder), dead], check=False, timeout=60)
    (short_folder / dead).touch()
    (short_folder / "notes.lock").touch()
    assert folder.sweep() == 1
    assert sorted(path.name for path in short_folder.iterdir()) == [f"{NAME}.lock", "notes.lock"]
    claim.release()


def test_a_claim_on_a_file_that_a_sweep_removed_meanwhile_is_taken_anew(
    short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(short_folder)
    lock = short_folder / f"{NAME}.lock"
    real_open, opened = os.open, []

    def open_then_swept(path: Path, flags: int, mode: int = 0o777) -> int:
        handle = real_open(path, flags, mode)
        if path == lock and not opened:
            opened.append(handle)
            lock.unlink()
        return handle

    monkeypatch.setattr(os, "open", open_then_swept)
    claim = folder.claim(NAME)
    assert claim is not None
    assert lock.exists()
    assert folder.lives(NAME)
    claim.release()
