# SPDX-License-Identifier: Apache-2.0
"""Secrets do not print themselves, and their files are their owner's alone."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from transom.errors import ConfigError
from transom.runtime import secrets
from transom.runtime.secrets import Secret


def test_a_secret_never_prints_itself() -> None:
    secret = Secret("planted")
    assert "planted" not in f"{secret} {secret!r} {secret!s} {[secret]}"
    assert secret.reveal() == "planted"
    assert secret
    assert not Secret("")


def test_secrets_compare_by_their_text() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1


def test_a_private_file_is_its_owners_alone_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "key"
    secrets.write_private(path, b"one")
    secrets.write_private(path, b"two")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secrets.read_private(path) == b"two"
    assert os.listdir(tmp_path) == ["key"]


def test_a_left_over_of_a_killed_writer_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / f".key.{os.getpid()}").write_bytes(b"half")
    secrets.write_private(tmp_path / "key", b"whole")
    assert (tmp_path / "key").read_bytes() == b"whole"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys\nfrom pathlib import Path\n"
        "from transom.runtime import secrets\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8, 8))\n"
        "secrets.write_private(Path(sys.argv[1]), bytes(100))\n"
    )
    path = tmp_path / "key"
    secrets.write_private(path, b"old")
    failed = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False
    )
    assert "File too large" in failed.stderr
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["key"]


def test_what_is_no_file_is_no_secret(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no file; move it away"):
        secrets.read_private(tmp_path)


def test_a_secret_that_others_may_read_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"x")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        secrets.read_private(path)


def test_a_private_folder_is_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    secrets.private_folder(folder)
    folder.chmod(0o755)
    secrets.private_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_passwords_are_made_of_the_given_randomness() -> None:
    made = secrets.new_password(lambda count: bytes(range(count)))
    assert made.reveal() == secrets.new_password(lambda count: bytes(range(count))).reveal()
    assert len(made.reveal()) == 24
