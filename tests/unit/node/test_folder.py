"""The data folder and the runtime folder: what is made, what is refused, what is left alone."""

import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from transom.errors import ConfigError
from transom.node.folder import (
    FORMAT,
    RUNTIME_PATH_BYTES_MOST,
    DataFolder,
    RuntimeFolder,
    State,
)


def listing(path: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(entry.relative_to(path)): (
            entry.stat().st_mtime_ns,
            entry.read_bytes() if entry.is_file() else b"",
        )
        for entry in sorted(path.rglob("*"))
    }


@pytest.fixture
def folder(tmp_path):
    folder = DataFolder(tmp_path / "data")
    yield folder
    folder.release()


def test_a_new_folder_is_private_and_has_its_layout(folder) -> None:
    folder.take()
    for path in (folder.path, folder.keys, folder.logs):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert (folder.path / "version").read_text() == f"{FORMAT}\n"
    assert folder.taken()


def test_a_folder_can_be_taken_again_after_its_release(folder) -> None:
    folder.take()
    folder.release()
    assert not folder.taken()
    folder.take()


def test_a_second_taker_is_told_who_runs_and_how_to_stop_it(folder) -> None:
    folder.take()
    folder.write_state(State(os.getpid(), 8774, "http://127.0.0.1:8774", "/tmp/x"))
    with pytest.raises(ConfigError) as caught:
        DataFolder(folder.path).take()
    assert caught.value.text == (
        f"Transom already runs on {folder.path} (pid {os.getpid()}, http://127.0.0.1:8774); "
        f"`transom down --data-dir {folder.path}` stops it"
    )


def test_the_descendants_of_a_killed_holder_keep_the_folder_until_they_end(folder) -> None:
    holder = """
import subprocess, sys, os
from pathlib import Path
from transom.node.folder import DataFolder
folder = DataFolder(Path(sys.argv[1]))
folder.take()
child = subprocess.Popen(
    ["sleep", "60"], pass_fds=[folder.lock_descriptor], stdout=subprocess.DEVNULL
)
print(child.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    killed = subprocess.run(
        [sys.executable, "-c", holder, str(folder.path)], stdout=subprocess.PIPE, check=False
    )
    orphan = os.pidfd_open(int(killed.stdout))
    try:
        assert folder.taken()
        with pytest.raises(ConfigError, match="already runs"):
            folder.take(orphans_wait_s=0.1)
        folder.take(waiting=lambda: signal.pidfd_send_signal(orphan, signal.SIGKILL))
    finally:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(orphan, signal.SIGKILL)
        os.close(orphan)


def test_a_folder_of_a_newer_format_is_refused_and_left_as_it_is(folder) -> None:
    folder.path.mkdir()
    (folder.path / "version").write_text(f"{FORMAT + 1}\n")
    (folder.path / "queue.db").write_bytes(b"precious")
    before = listing(folder.path)
    with pytest.raises(ConfigError, match=f"has format {FORMAT + 1}, from a newer Transom"):
        folder.take()
    assert listing(folder.path) == before


def test_a_folder_with_other_files_is_refused_and_left_as_it_is(folder) -> None:
    folder.path.mkdir(mode=0o755)
    (folder.path / "thesis.tex").write_text("x")
    before = listing(folder.path)
    with pytest.raises(ConfigError, match=r"not a data folder \(it holds 'thesis.tex'\)"):
        folder.take()
    assert listing(folder.path) == before
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o755


def test_a_damaged_version_file_is_refused(folder) -> None:
    folder.path.mkdir()
    (folder.path / "version").write_text("banana")
    with pytest.raises(ConfigError, match="holds no format number"):
        folder.take()


def test_a_place_that_cannot_be_written_is_one_clear_line() -> None:
    with pytest.raises(ConfigError, match=r"cannot be used: .*; choose another folder") as caught:
        DataFolder(Path("/proc/transom")).take()
    assert "\n" not in caught.value.text


def test_a_file_in_place_of_the_folder_is_one_clear_line(tmp_path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(ConfigError, match="cannot be used"):
        DataFolder(tmp_path / "data").take()


def test_a_folder_of_somebody_else_is_refused(folder) -> None:
    if os.getuid() == 0:
        folder.path.mkdir()
        os.chown(folder.path, 65534, 65534)
        theirs = folder
    else:
        theirs = DataFolder(Path("/root"))
    with pytest.raises(ConfigError):
        theirs.take()
    assert not theirs.taken()


def test_state_is_read_back_and_a_torn_one_is_none(folder) -> None:
    folder.take()
    assert folder.read_state() is None
    state = State(1, 2, "http://x", "/tmp/y")
    folder.write_state(state)
    assert folder.read_state() == state
    (folder.path / "state.json").write_text(json.dumps({"pid": 1})[:-3])
    assert folder.read_state() is None
    folder.clear_state()
    folder.clear_state()


def test_runtime_paths_are_short_whatever_the_data_folder_is_called(tmp_path) -> None:
    deep = tmp_path / ("d" * 90)
    path = RuntimeFolder(tmp_path / ("x" * 200), deep).path
    assert len(os.fsencode(path)) <= RUNTIME_PATH_BYTES_MOST
    assert path.parent == Path("/tmp")


def test_two_data_folders_have_two_runtime_folders(tmp_path) -> None:
    assert RuntimeFolder(tmp_path / "a").path != RuntimeFolder(tmp_path / "b").path


@pytest.fixture
def runtime(tmp_path):
    runtime = RuntimeFolder(tmp_path / "data")
    yield runtime
    if runtime.path.is_symlink():
        runtime.path.unlink()
    runtime.remove()


def test_a_runtime_folder_is_private_and_removed(runtime) -> None:
    runtime.make()
    assert stat.S_IMODE(runtime.path.stat().st_mode) == 0o700
    runtime.remove()
    assert not runtime.path.exists()


def test_a_stale_runtime_folder_is_reused_with_the_sockets_of_who_lives_on(runtime) -> None:
    runtime.make()
    runtime.control_socket.write_text("")
    other = runtime.path / "0123456789abcdef"
    other.write_text("")
    runtime.make()
    assert list(runtime.path.iterdir()) == [other]
    runtime.remove()
    assert list(runtime.path.iterdir()) == [other]
    other.unlink()


def test_a_runtime_folder_is_locked_against_cleaners_of_old_files(runtime) -> None:
    runtime.make()
    handle = os.open(runtime.path, os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    runtime.remove()
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(handle)


def test_a_runtime_folder_that_others_may_enter_is_refused(runtime) -> None:
    runtime.make()
    runtime.path.chmod(0o777)
    with pytest.raises(ConfigError, match="not a private folder"):
        runtime.make()


def test_a_link_in_place_of_the_runtime_folder_is_refused(runtime, tmp_path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o700)
    (tmp_path / "theirs" / "file").write_text("x")
    runtime.path.symlink_to(tmp_path / "theirs")
    with pytest.raises(ConfigError, match="not a private folder"):
        runtime.make()
    assert (tmp_path / "theirs" / "file").exists()
