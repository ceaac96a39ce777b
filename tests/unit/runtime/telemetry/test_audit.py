# SPDX-License-Identifier: Apache-2.0
import json
import logging
import resource
from datetime import UTC, datetime

import pytest
from msgspec import Raw

from transom.errors import ConfigError
from transom.runtime.telemetry import audit
from transom.runtime.telemetry.audit import AuditLog, Entry, shown

MOMENT = datetime(2026, 11, 21, 7, 0, tzinfo=UTC)


class Hands:
    """A log and the moment, which a test moves on."""

    def __init__(self, log):
        self.log = log
        self.now_s = 100.0

    def write(self, entry):
        return self.log.write(entry, self.now_s)


def entry(number, outcome="allowed", **more):
    return Entry(MOMENT, f"req-{number}", outcome, 201, "POST", "/queue", "/queue/x", 500, **more)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def ids(path):
    return [line["request_id"] for line in lines(path)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.log"


@pytest.fixture
async def opened():
    """Makes started logs with a clock each, and stops them."""
    started = []

    async def make(path, **options):
        given = {"file_bytes": 1 << 20, "old_files": 2, **options}
        log = AuditLog(path, **given)
        await log.start()
        started.append(log)
        return log, Hands(log)

    yield make
    for log in started:
        await log.stop()


@pytest.fixture
def file_limit():
    """Sets how large a file may get: what goes over it is cut short, as by a full disk."""
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda most: resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))


def figures(log):
    return {
        sample.name: sample.value
        for metric in log.collect()
        for sample in metric.samples
        if not sample.name.endswith("_created")
    }


async def test_a_line_is_in_the_file_when_it_was_written_and_only_its_owner_reads_it(path, opened):
    _, hands = await opened(path)
    assert hands.write(entry(1, caller=Raw(b'{"user_name":"alice"}')))
    assert lines(path) == [
        {
            "time": "2026-11-21T07:00:00Z", "request_id": "req-1", "outcome": "allowed",
            "status": 201, "method": "POST", "mount": "/queue", "path": "/queue/x",
            "duration_us": 500, "caller": {"user_name": "alice"},
        }
    ]  # fmt: skip
    assert path.stat().st_mode & 0o777 == 0o600


async def test_two_that_append_to_one_file_keep_each_other_s_lines(path, opened):
    logs = [(await opened(path))[1] for _ in range(2)]
    for number in range(20):
        logs[number % 2].write(entry(number))
    assert ids(path) == [f"req-{number}" for number in range(20)]


async def test_a_folder_that_cannot_be_written_is_a_configuration_error(tmp_path, opened):
    with pytest.raises(ConfigError, match=r'\[log\] audit = "off"'):
        await opened(tmp_path / "missing" / "audit.log")


async def test_lines_wait_while_the_disk_is_full_and_come_first_when_it_is_not(
    path, opened, caplog
):
    path.symlink_to("/dev/full")
    log, hands = await opened(path)
    with caplog.at_level(logging.WARNING):
        assert not hands.write(entry(1))
        assert not hands.write(entry(2))
        assert not log.ready()
        assert log.problem == "No space left on device"
        assert figures(log)["transom_audit_lines_waiting"] == 2
        path.unlink()
        hands.now_s += 2
        assert hands.write(entry(3))
    assert ids(path) == ["req-1", "req-2", "req-3"]
    assert log.ready()
    assert log.problem == ""
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert figures(log) == {
        "transom_audit_lines_total": 3,
        "transom_audit_lines_lost_total": 0,
        "transom_audit_lines_waiting": 0,
    }


async def test_a_line_that_was_cut_short_is_written_again_as_a_whole(path, opened, file_limit):
    _, hands = await opened(path)
    hands.write(entry(1))
    size = path.stat().st_size
    file_limit(size * 2 - 10)
    assert not hands.write(entry(2))
    file_limit(size * 4 - 20)
    assert not hands.write(entry(3))
    file_limit(1 << 20)
    assert hands.write(entry(4))
    found = path.read_text().splitlines()
    whole = [json.loads(line)["request_id"] for line in found if line.endswith("}")]
    assert whole == ["req-1", "req-2", "req-3", "req-4"]
    assert len(found) - len(whole) == 2, "the two that were cut short stand as they are"


async def test_what_is_given_up_is_counted_where_it_is_missing(path, opened, monkeypatch):
    monkeypatch.setattr(audit, "WAITING_MAX", 3)
    path.symlink_to("/dev/full")
    log, hands = await opened(path)
    for number in range(8):
        hands.write(entry(number, "denied"))
    assert figures(log)["transom_audit_lines_lost_total"] == 5
    path.unlink()
    hands.now_s += 2
    assert hands.write(entry("last"))
    first, hole = lines(path)[:3], lines(path)[3]
    assert [line["request_id"] for line in first] == ["req-0", "req-1", "req-2"]
    assert (hole["outcome"], hole["lines"]) == ("lost", 6)
    assert hands.write(entry("after"))
    assert ids_after(path) == ["req-after"]


def ids_after(path):
    return [line["request_id"] for line in lines(path)[4:]]


async def test_where_it_is_needed_nothing_that_happened_is_given_up(path, opened, monkeypatch):
    monkeypatch.setattr(audit, "WAITING_MAX", 1)
    path.symlink_to("/dev/full")
    _, hands = await opened(path, needed=True)
    for number in range(5):
        assert not hands.write(entry(number, "unknown" if number == 4 else "allowed"))
    hands.write(entry("refused", "failed"))
    path.unlink()
    hands.now_s += 2
    assert hands.write(entry("last"))
    assert [line.get("request_id") for line in lines(path)] == [
        "req-0", "req-1", "req-2", "req-3", "req-4", "req-last", None,
    ]  # fmt: skip


async def test_a_full_file_is_moved_on_and_the_oldest_goes(path, opened):
    logs = [await opened(path, file_bytes=1000) for _ in range(2)]
    count = 60
    for number in range(count):
        _, hands = logs[number % 2]
        hands.now_s += 1.5
        assert hands.write(entry(number))
    names = sorted(found.name for found in path.parent.iterdir())
    assert names == ["audit.log", "audit.log.1", "audit.log.2"]
    kept = [one for number in (2, 1) for one in ids(path.with_name(f"audit.log.{number}"))]
    kept += ids(path)
    assert sorted(kept, key=lambda one: int(one[4:])) == [
        f"req-{number}" for number in range(count - len(kept), count)
    ]
    assert all(found.stat().st_size < 2000 for found in path.parent.iterdir())


async def test_without_old_files_only_the_present_one_stays(path, opened):
    _, hands = await opened(path, file_bytes=300, old_files=0)
    for number in range(10):
        hands.now_s += 1.5
        hands.write(entry(number))
    assert [found.name for found in path.parent.iterdir()] == ["audit.log"]
    assert ids(path)[-1] == "req-9"


async def test_a_file_that_was_moved_away_is_let_go_of(path, opened):
    _, hands = await opened(path)
    hands.write(entry(1))
    path.rename(path.with_name("elsewhere"))
    hands.write(entry(2))
    hands.now_s += 1.5
    hands.write(entry(3))
    assert ids(path.with_name("elsewhere")) == ["req-1", "req-2"]
    assert ids(path) == ["req-3"]


async def test_a_file_that_cannot_be_moved_on_goes_on_and_says_so(path, opened, caplog):
    log, hands = await opened(path, file_bytes=1)
    for number in (1, 2):
        path.with_name(f"audit.log.{number}").mkdir()
        (path.with_name(f"audit.log.{number}") / "x").touch()
    hands.write(entry(1))
    hands.now_s += 1.5
    with caplog.at_level(logging.ERROR):
        assert hands.write(entry(2))
    assert ids(path) == ["req-1", "req-2"]
    assert log.problem
    assert len(caplog.records) == 1


async def test_lines_that_still_wait_at_the_stop_are_told(path, opened, caplog):
    path.symlink_to("/dev/full")
    log, hands = await opened(path)
    hands.write(entry(1))
    with caplog.at_level(logging.ERROR):
        await log.stop()
        await log.stop()
    assert caplog.records[-1].lines == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain é", "plain é"),
        ('a\n{"outcome": "allowed"}', 'a\\n{"outcome": "allowed"}'),
        ("\x1b[2J\x7f\u2028\u202e", "\\x1b[2J\\x7f\\u2028\\u202e"),
        ("x" * 2000, "x" * 1024 + "..."),
    ],
)
def test_texts_from_outside_are_bounded_and_printable(text, expected):
    assert shown(text) == expected


def test_what_a_sign_in_names_belongs_to_its_request_alone():
    audit.claim("req-1", "", "a\nb", "default", "")
    assert audit.claimed("req-2") is None
    found = audit.claimed("req-1")
    assert (found.user_name, found.user_domain) == ("a\\nb", "default")
