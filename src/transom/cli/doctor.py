# SPDX-License-Identifier: Apache-2.0
"""`transom doctor`: what is wrong with this machine, folder and stack, and what to do about it.

It only looks; nothing is changed. A check that cannot be made is a finding too.
"""

import asyncio
import json
import os
import resource
import shutil
import ssl
import stat
import statistics
import tempfile
import time
import urllib.error
import urllib.request
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from transom.cli import queue_stores, tls
from transom.cli.parts import QUEUE, STORES
from transom.cli.settings import Settings
from transom.errors import TransomError
from transom.node import remote
from transom.runtime.db.backup import check_copy, check_version
from transom.runtime.db.migrate import Migrations
from transom.runtime.secrets import Secret

OK, NOTE, WRONG = "ok", "note", "wrong"
FREE_BYTES_LEAST = 256 << 20
FREE_BYTES_EASY = 2 << 30
SYNC_S_MOST = 0.05
FILES_LEAST = 1024
BACKUP_DAYS_MOST = 7
SYNCS = 15
LOG_TAIL_BYTES = 1 << 20
QUICK_BYTES_MOST = 256 << 20
NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse.sshfs"})


@dataclass(frozen=True, slots=True)
class Finding:
    """`level`: ok, note or wrong. `advice`: what to do, "" where nothing is."""

    level: str
    what: str
    advice: str = ""


Check = Callable[[Settings], Iterator[Finding]]


def doctor(options: Namespace) -> int:
    """Exit status 0: nothing is wrong; 1: something is."""
    try:
        settings = Settings.of(options)
        settings.data.require()
    except TransomError as error:
        return _tell([Finding(WRONG, error.text)], options.json)
    findings = [found for check in CHECKS for found in _made(check, settings)]
    return _tell(findings, options.json)


def _made(check: Check, settings: Settings) -> Iterator[Finding]:
    try:
        yield from check(settings)
    except (TransomError, OSError, ValueError) as error:
        text = error.text if isinstance(error, TransomError) else str(error)
        yield Finding(WRONG, f"{check.__name__.lstrip('_')}: {text}")


def _tell(findings: list[Finding], as_json: bool) -> int:
    wrong = [found for found in findings if found.level == WRONG]
    if as_json:
        print(json.dumps([asdict(found) for found in findings]))
        return 1 if wrong else 0
    for found in findings:
        print(f"{found.level:<6} {found.what}")
        if found.advice:
            print(f"       -> {found.advice}")
    if wrong:
        print(f"{len(wrong)} of {len(findings)} things are wrong")
        return 1
    print("nothing is wrong")
    return 0


def _machine(settings: Settings) -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0))
    yield Finding(OK, f"{cores} {'core' if cores == 1 else 'cores'}")
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES_LEAST:
        yield Finding(
            WRONG,
            f"a process may open {soft} files, which is few connections",
            "raise it: `ulimit -n 65536`, or LimitNOFILE= in the unit",
        )
    else:
        yield Finding(OK, f"a process may open {soft} files")


def _space(settings: Settings) -> Iterator[Finding]:
    folder = settings.data.path
    free = shutil.disk_usage(folder).free
    what = f"{folder}: {free / (1 << 30):.1f} GiB free"
    advice = "free some space: writes are refused when none is left"
    if free < FREE_BYTES_LEAST:
        yield Finding(WRONG, what, advice)
    else:
        yield Finding(*(OK, what) if free >= FREE_BYTES_EASY else (NOTE, what, advice))
    kind = _file_system(folder)
    if kind in NETWORK_FILE_SYSTEMS:
        yield Finding(
            WRONG,
            f"{folder}: is on a network file system ({kind}), where locks and syncs may not hold",
            "put the data folder on a local disk, or use PostgreSQL",
        )
    elif kind == "tmpfs":
        yield Finding(NOTE, f"{folder}: is in memory ({kind}) and gone after a reboot")


def _file_system(folder: Path) -> str:
    """The type of the file system that holds the folder."""
    found, kind = -1, ""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, this, *_ = line.split()
        mount = Path(place.encode().decode("unicode_escape"))
        if folder.is_relative_to(mount) and len(mount.parts) >= found:
            found, kind = len(mount.parts), this
    return kind


def _disk(settings: Settings) -> Iterator[Finding]:
    folder = settings.data.path
    try:
        median_s = _sync_s(folder)
    except OSError as error:
        advice = "free some space, or see to the disk: all that is posted is refused"
        yield Finding(WRONG, f"{folder}: cannot be written: {error.strerror}", advice)
        return
    what = f"a write is on disk in {median_s * 1000:.2f} ms (median of {SYNCS})"
    if median_s > SYNC_S_MOST:
        yield Finding(WRONG, what, "each acknowledged write waits for that; use a faster disk")
    else:
        yield Finding(OK, what)


def _sync_s(folder: Path) -> float:
    """How long a small write takes to be on disk, the median."""
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        times = []
        for _ in range(SYNCS):
            file.write(bytes(4096))
            began_s = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began_s)
    return statistics.median(times)


def _privacy(settings: Settings) -> Iterator[Finding]:
    """Who else may read what only we should."""
    data = settings.data
    private = [data.path, data.keys, data.clouds_file, *data.keys.glob("*")]
    private += [data.path / store.file_name for store in STORES.values()]
    private += [data.path / name for name in queue_stores.files(data.path)]
    if settings.file and data.path not in settings.file.parents:  # else the folder shuts it in
        private.append(settings.file)
    open_ones = [
        path for path in private if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    for path in open_ones:
        mode = stat.S_IMODE(path.stat().st_mode)
        yield Finding(WRONG, f"{path}: others may read it (mode {mode:03o})", f"chmod go= {path}")
    if not open_ones:
        yield Finding(OK, f"keys, databases and credentials are for user {os.getuid()} alone")


def _databases(settings: Settings) -> Iterator[Finding]:
    if settings.database_url:
        yield from _server(settings.database_url)
    else:
        for store in STORES.values():
            yield from _file(settings.data.path / store.file_name, store.migrations)
    for name in queue_stores.files(settings.data.path):
        yield from _file(settings.data.path / name, QUEUE.migrations)
    for name in queue_stores.missing(settings):
        what = f"{name}: is gone, or new and empty, and there were queues in it"
        yield Finding(WRONG, what, "put the old file back, or restore a backup")
    for left in queue_stores.left_over(settings):
        yield _left_over(settings.data.path, left)
    for pool in queue_stores.on_servers(settings):
        try:
            yield from _schema(pool.uri, pool.schema, QUEUE.migrations)
        except TransomError as error:
            yield Finding(
                WRONG,
                f"pool {pool.name}: {error.text}",
                "its queues answer 503 until it is back; others go on",
            )


def _file(path: Path, rooms: Sequence[Migrations]) -> Iterator[Finding]:
    if not path.exists():
        return
    if path.with_name(path.name + ".poisoned").exists():
        yield Finding(
            WRONG,
            f"{path}: its disk failed once while it was written; it takes no writes since",
            "see the system's log; when the disk is well, `transom down` and `transom up`",
        )
        return
    check_version(path, rooms)
    mib = path.stat().st_size / (1 << 20)
    if path.stat().st_size > QUICK_BYTES_MOST:
        yield Finding(NOTE, f"{path.name}: {mib:.0f} MiB; too large to be read through here")
        return
    check_copy(path)
    yield Finding(OK, f"{path.name}: {mib:.1f} MiB, whole, of this version")


def _left_over(folder: Path, left: queue_stores.LeftOver) -> Finding:
    name = Path(left.file_name).stem
    if left.queues:
        return Finding(
            WRONG,
            f"{left.file_name}: no pool is in it, and {left.queues} queues are",
            "it and queue.db are of different moments; restore a backup",
        )
    if left.leaving:
        return Finding(
            WRONG,
            f"{left.file_name}: no pool is in it any more, and {left.leaving} messages are, on "
            "their way to other databases",
            f"make it a pool again (the uri is sqlite:{name}): they are brought over at once",
        )
    return Finding(
        NOTE,
        f"{left.file_name}: no pool is in it any more, and nothing that anybody needs",
        f"rm {folder / left.file_name}*",
    )


def _server(url: Secret) -> Iterator[Finding]:
    for store in STORES.values():
        yield from _schema(url, store.schema, store.migrations)


def _schema(url: Secret, schema: str, rooms: Sequence[Migrations]) -> Iterator[Finding]:
    from transom.runtime.db.postgres.look import look

    seen = asyncio.run(look(url, schema, rooms))
    for name in seen.off:
        yield Finding(
            WRONG,
            f"{seen.where}: {name} is off, so a power cut may lose what was acknowledged",
            f"set {name} = on in postgresql.conf, and reload the server",
        )
    if seen.is_made:
        mib = seen.size_bytes / (1 << 20)
        yield Finding(OK, f"{seen.where}: {mib:.1f} MiB, of this version")
    else:
        yield Finding(NOTE, f"{seen.where}: is not made yet", "the first start makes it")


def _stack(settings: Settings) -> Iterator[Finding]:
    if not settings.data.taken():
        yield Finding(NOTE, f"Transom does not run on {settings.data.path}")
        return
    found = remote.status(settings.data)
    for role in found["roles"]:
        if problem := role.get("problem"):
            yield Finding(WRONG, f"{role['name']}: {problem}", "see the log of that role")
        elif role["restarts"]:
            yield Finding(
                NOTE,
                f"{role['name']} was started again {role['restarts']} times",
                f"why stands in {settings.data.logs / 'supervisor.log'}",
            )
    if found["ready"]:
        yield Finding(OK, f"all roles are ready, {found['memory_mib']:.0f} MiB")
    yield from _door(found["url"], tls.ca_file(settings))


def _door(url: str, ca_file: str) -> Iterator[Finding]:
    began_s = time.perf_counter()
    trust = ssl.create_default_context(cafile=ca_file or None)
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5, context=trust) as answer:  # noqa: S310 ours
            told = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(1000).decode(errors="replace")
        yield Finding(WRONG, f"{url}/readyz: {error.code} {said}", "the checks name what is away")
        return
    except OSError as error:
        yield Finding(WRONG, f"{url}: does not answer ({error})", "see the log of the role api")
        return
    yield Finding(OK, f"{url}/readyz answers in {(time.perf_counter() - began_s) * 1000:.0f} ms")
    for name, warning in told.get("warnings", {}).items():
        more = "the log of the role api says more (of Keystone: transom config check --online)"
        yield Finding(NOTE, f"{name}: {warning}", more)


def _logs(settings: Settings) -> Iterator[Finding]:
    """Errors of the last hour."""
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    for path in sorted(settings.data.logs.glob("*.log")):
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_TAIL_BYTES))
            lines = file.read().splitlines()
        errors = [line for line in map(_decoded, lines) if _is_error(line, since)]
        if errors:
            last = errors[-1]
            yield Finding(
                NOTE,
                f"{path.name}: {len(errors)} errors in the last hour, the last one: "
                f"{last.get('message')}",
                f"read {path}",
            )


def _decoded(line: bytes) -> dict[str, str]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_error(line: dict[str, str], since: str) -> bool:
    return line.get("level") in ("error", "critical") and line.get("time", "") > since


def _backups(settings: Settings) -> Iterator[Finding]:
    last = settings.data.last_backup()
    if last is None:
        yield Finding(NOTE, "no backup was ever taken", "transom backup FILE")
    elif (days := (datetime.now(UTC) - last).days) > BACKUP_DAYS_MOST:
        yield Finding(NOTE, f"the last backup is {days} days old", "transom backup FILE")
    else:
        yield Finding(OK, f"the last backup was taken {last.isoformat(timespec='minutes')}")


CHECKS: tuple[Check, ...] = (
    _machine,
    _space,
    _disk,
    _privacy,
    _databases,
    _stack,
    _logs,
    _backups,
)
