# SPDX-License-Identifier: Apache-2.0
"""What was taken is remembered in a file, whatever becomes of the process."""

import os
from pathlib import Path
from random import Random

import pytest

from transom.errors import ConfigError
from transom.messaging.secured import seen as seen_module
from transom.messaging.secured.seen import FileSeen

NOW_MS = 1_767_225_600_000
HOUR_MS = 3_600_000
MESSAGE_BYTES = 1 + 24 + 3 * 8 + 4


def opened(path: Path, now_ms: int = NOW_MS, **given: int) -> FileSeen:
    seen = FileSeen(path, **given)
    seen.open(now_ms)
    return seen


def take(seen: FileSeen, stream: int, counter: int, *, until_ms: int = NOW_MS + HOUR_MS) -> None:
    seen.record(bytes([stream] * 24), counter, NOW_MS, until_ms)


def has(seen: FileSeen, stream: int, counter: int) -> bool:
    return seen.has(bytes([stream] * 24), counter, NOW_MS + 1)


def die(seen: FileSeen) -> None:
    """As the kernel does it for a process that is killed."""
    for handle in (seen._log, seen._lock):
        os.close(handle)
    seen._log = seen._lock = -1


def test_what_was_taken_is_known_after_a_death_without_a_word(tmp_path: Path) -> None:
    path = tmp_path / "seen"
    chance = Random(1)
    taken = {(chance.randrange(5), chance.randrange(5000)) for _ in range(2000)}
    for turn in range(3):
        seen = opened(path)
        for stream, counter in taken:
            assert has(seen, stream, counter) is (turn > 0)
            if turn == 0:
                take(seen, stream, counter)
        assert not has(seen, 0, 6000)
        die(seen)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("cut", [1, 20, MESSAGE_BYTES - 1])
def test_a_record_that_was_torn_is_left_out_and_no_other(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "seen"
    seen = opened(path)
    for counter in range(10):
        take(seen, 1, counter)
    seen.close()
    seen.close()
    torn = path.read_bytes()[:-cut]
    path.write_bytes(torn)
    again = opened(path)
    assert [has(again, 1, counter) for counter in range(10)] == [True] * 9 + [False]
    take(again, 1, 20)
    again.close()
    path.write_bytes(torn + path.read_bytes()[-MESSAGE_BYTES:])
    last = opened(path)
    assert [has(last, 1, counter) for counter in (8, 9, 20)] == [True, False, True]
    last.close()
    path.write_bytes(b"?rest" + path.read_bytes() + b"?rest")
    whole = opened(path)
    assert has(whole, 1, 20)
    whole.close()


def test_only_one_at_a_time_has_the_file(tmp_path: Path) -> None:
    path = tmp_path / "seen"
    first = opened(path)
    with pytest.raises(ConfigError, match="another process"):
        opened(path)
    take(first, 1, 1)
    first.close()
    second = opened(path)
    assert has(second, 1, 1)
    second.close()
    path.unlink()
    path.mkdir()
    for _ in range(2):
        with pytest.raises(IsADirectoryError):
            opened(path)


def test_where_the_file_was_lost_nothing_from_before_is_known(tmp_path: Path) -> None:
    path = tmp_path / "seen"
    for now_ms in (NOW_MS, NOW_MS + HOUR_MS):
        seen = opened(path, now_ms)
        assert seen.start_ms == NOW_MS
        seen.close()
    for damaged in (b"", b"nothing that is known"):
        path.write_bytes(damaged)
        seen = opened(path, NOW_MS + 5)
        assert seen.start_ms == NOW_MS + 5
        seen.close()


def test_the_log_is_written_anew_when_it_has_grown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen_module, "GROWN_BYTES", 10_000)
    path = tmp_path / "seen"
    seen = opened(path)
    for counter in range(1000):
        take(seen, 1, counter)
    take(seen, 2, 1, until_ms=NOW_MS + 5)
    assert path.stat().st_size > 40_000
    seen.forget(NOW_MS + 5)
    assert path.stat().st_size < 300
    take(seen, 1, 1000)
    seen.close()
    again = opened(path)
    assert all(has(again, 1, counter) for counter in range(1001))
    assert not has(again, 2, 1)
    again.close()


def test_a_stream_that_was_forgotten_for_want_of_room_stays_refused(tmp_path: Path) -> None:
    path = tmp_path / "seen"
    for _ in range(2):
        seen = opened(path, streams_max=2)
        for stream in range(4):
            take(seen, stream, 1)
        seen.close()
    again = opened(path, streams_max=2)
    assert again.has(bytes(24), 2, NOW_MS)
    again.close()


def test_a_disk_that_takes_nothing_is_told_and_the_memory_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "seen"
    seen = opened(path)
    os.close(seen._log)
    seen._log = os.open("/dev/full", os.O_WRONLY)
    take(seen, 1, 1)
    take(seen, 1, 2, until_ms=2**70)
    assert has(seen, 1, 1)
    assert has(seen, 1, 2)
    assert caplog.text.count("message not recorded on disk") == 2
    seen.forget(NOW_MS)
    assert "record of messages not written anew" in caplog.text, "no record holds such a time"
    seen.close()


def test_a_log_that_cannot_be_written_anew_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "seen"
    seen = opened(path)
    path.unlink()
    path.mkdir()
    seen._bytes = seen_module.GROWN_BYTES + 1
    seen.forget(NOW_MS)
    assert "record of messages not written anew" in caplog.text
    seen.close()
