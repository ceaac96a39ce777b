# SPDX-License-Identifier: Apache-2.0
"""`transom backup` and `transom restore`: all that a data folder holds but its logs, in one file.

A backup is taken while Transom runs; each part's database is one moment of its own. It holds SQLite
files, also of data that are in PostgreSQL, so each can be restored into either. A restore makes a
new data folder: it is whole, or it is not there.
"""

import asyncio
import os
import shutil
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from transom import __version__
from transom.cli import queue_stores
from transom.cli.database_url import given_url, refuse_files
from transom.cli.parts import STORES, Store
from transom.cli.settings import FILE_NAME, DatabaseConfig, Settings
from transom.errors import ConfigError
from transom.node.folder import DataFolder
from transom.runtime.archive import Unpacked, pack, unpack
from transom.runtime.clock import SystemClock
from transom.runtime.db.address import shown
from transom.runtime.db.backup import check_copy, copy_file
from transom.runtime.db.migrate import upgrade
from transom.runtime.sealing import sealer_of
from transom.runtime.secrets import Secret, private_folder, sync_folder

KEPT = (FILE_NAME, "clouds.yaml", "openrc", "keys", "limits", "policy", "version")
"""What of a data folder is kept beside its databases; the rest (logs, locks) is of a run."""


def backup(options: Namespace) -> int:
    settings = Settings.of(options)
    settings.data.require()
    to: Path = options.file.absolute()
    if not to.parent.is_dir():
        raise ConfigError(f"{to.parent}: is no folder; make it, or put the backup elsewhere")
    now = datetime.now(UTC)
    with _private_copy_of_all(settings, to) as files:
        about = {
            "transom": __version__,
            "taken": now.isoformat(timespec="seconds"),
            "folder": str(settings.data.path),
        }
        length = pack(to, files, about)
    settings.data.note_backup(now)
    print(f"{to}: {len(files)} files, {length / (1 << 20):.1f} MiB; it holds keys, keep it safe")
    return 0


def restore(options: Namespace) -> int:
    """With `--check` the backup is tried and nothing is left."""
    folder = DataFolder(options.data_dir)
    if not options.check:
        _refuse_a_folder_in_use(folder.path)
    work = folder.path.with_name(f".{folder.path.name}.restoring")
    shutil.rmtree(work, ignore_errors=True)  # of a restore that was cut short
    work.parent.mkdir(parents=True, exist_ok=True)
    private_folder(work)
    try:
        unpacked = unpack(options.file, work)
        asyncio.run(_begin_anew(work, Settings.read(work, options.config).master_keys))
        if options.check:
            print(f"{options.file}: can be restored; {_of(unpacked)}")
            return 0
        where = _to_its_database(work, options)
        work.rename(folder.path)  # onto nothing, or an empty folder
        sync_folder(folder.path.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"{folder.path}: restored{where}; {_of(unpacked)}")
    print("all tokens are void, and message numbers go on far above the old ones")
    return 0


@contextmanager
def _private_copy_of_all(settings: Settings, to: Path) -> Iterator[dict[str, Path]]:
    """Name in the archive -> file. Copies lie where the archive will, where space is expected."""
    with tempfile.TemporaryDirectory(dir=to.parent, prefix=".transom-backup-") as beside:
        # Safety: before the home, which then knows of all that is in them.
        files = queue_stores.copy_all(settings, Path(beside))
        for store in STORES.values():
            copy = Path(beside) / store.file_name
            if _copy(store, settings, copy):
                files[store.file_name] = copy
        if not files:
            url = settings.database_url
            where = f"PostgreSQL at {shown(url.reveal())}" if url else settings.data.path
            raise ConfigError(f"{where}: holds no data of Transom; nothing was backed up")
        for name in KEPT:
            path = settings.data.path / name
            for found in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if _is_kept(found):
                    files[str(found.relative_to(settings.data.path))] = found
        yield files


def _copy(store: Store, settings: Settings, to: Path) -> bool:
    """False if the part has no data yet."""
    if url := settings.database_url:
        refuse_files(settings.data.path, url)
        from transom.runtime.db.postgres.transfer import copy_schema

        clock = SystemClock()
        return asyncio.run(copy_schema(url, store.schema, store.migrations, to, clock=clock))
    source = settings.data.path / store.file_name
    if source.exists():
        copy_file(source, to)
    return source.exists()


def _is_kept(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and path.suffix != ".lock"


async def _begin_anew(folder: Path, master_keys: Secret) -> None:
    """Checks every database, brings it to this version, says that it was put back."""
    for store in STORES.values():
        path = folder / store.file_name
        if path.exists():
            check_copy(path)
            upgrade(path, store.migrations, clock=SystemClock())
            await _restored(store, folder)
    await queue_stores.begin_anew(folder, sealer_of(folder / "keys", master_keys, os.urandom))


async def _restored(store: Store, folder: Path) -> None:
    clock = SystemClock()
    database = store.file_database(folder, clock)
    await database.start()
    try:
        await database.write(lambda tx: store.restored(tx, clock.now_ms()))
    finally:
        await database.stop()


def _to_its_database(folder: Path, options: Namespace) -> str:
    """Puts the files' rows where the command line or the configuration says; says where that was.

    Safety: the server's commit comes first. A folder that said its data are there, before they are,
    would begin anew without them.
    """
    settings = Settings.read(folder, options.config)
    given = given_url(options.database, settings.config.section(DatabaseConfig).url)
    url = given or settings.database_url
    if not url:
        return ""
    from transom.runtime.db.postgres.transfer import Source, fill_schemas

    stores = [store for store in STORES.values() if (folder / store.file_name).exists()]
    sources = [Source(folder / it.file_name, it.schema, it.migrations) for it in stores]
    asyncio.run(fill_schemas(url, sources, clock=SystemClock()))
    for store in stores:
        for path in folder.glob(f"{store.file_name}*"):
            path.unlink()
    settings.remember_database(given)
    return f", its data into PostgreSQL at {shown(url.reveal())}"


def _refuse_a_folder_in_use(path: Path) -> None:
    if path.exists() and (not path.is_dir() or any(os.scandir(path))):
        raise ConfigError(
            f"{path}: is not empty, and a restore changes nothing that is there; stop Transom and "
            "move the folder away, or name another with --data-dir"
        )


def _of(unpacked: Unpacked) -> str:
    return f"taken {unpacked.about.get('taken')} by Transom {unpacked.about.get('transom')}"
