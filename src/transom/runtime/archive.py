# SPDX-License-Identifier: Apache-2.0
"""An archive of files: a tar whose first member says what is in it, each with its SHA-256.

Invariants:
1. An archive is 0600, and whole or absent; also where a file changed while it was read.
2. Nothing is unpacked that the manifest does not name, that is not as it says, or whose path leads
   out of the folder.
"""

import hashlib
import io
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import msgspec

from transom.errors import ConfigError
from transom.runtime.secrets import sync_folder

MANIFEST = "manifest.json"
FORMAT = 1
MANIFEST_BYTES_MOST = 16 << 20
CHUNK_BYTES = 1 << 20


class Member(msgspec.Struct, frozen=True):
    """One file: its length and the SHA-256 of its content."""

    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """What an archive says of itself. `about`: for people and for who restores it."""

    format: int
    about: dict[str, Any]
    files: dict[str, Member]


@dataclass(frozen=True, slots=True)
class Unpacked:
    """An archive's content, in `folder`."""

    folder: Path
    about: Mapping[str, Any]
    names: tuple[str, ...]


def pack(to: Path, files: Mapping[str, Path], about: Mapping[str, Any]) -> int:
    """Writes the archive; answers its length in bytes. `files`: name in the archive -> path.

    Raises: ConfigError if there is one of that name, or a file changes meanwhile; OSError.
    """
    if to.exists():
        raise ConfigError(f"{to}: is there already; choose another name, or move it away")
    beside = to.with_name(f".{to.name}.{os.getpid()}")
    members = {name: _member(path) for name, path in sorted(files.items())}
    manifest = msgspec.json.encode(Manifest(FORMAT, dict(about), members))
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as raw:
            with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
                _add(tar, MANIFEST, io.BytesIO(manifest), len(manifest))
                for name, member in members.items():
                    _add_file(tar, name, files[name], member)
            raw.flush()
            os.fsync(raw.fileno())
        os.link(beside, to)  # unlike a rename, never over another
    except FileExistsError:
        raise ConfigError(f"{to}: is there already; choose another name") from None
    finally:
        beside.unlink(missing_ok=True)
    sync_folder(to.parent)
    return to.stat().st_size


def unpack(archive: Path, folder: Path) -> Unpacked:
    """Unpacks all into the folder, which exists and is empty; everything is 0600 and on disk.

    Raises: ConfigError for what is no whole archive of ours.
    """
    try:
        with tarfile.open(archive, "r:") as tar:
            manifest = _manifest(tar, archive)
            for name, member in manifest.files.items():
                _extract(tar, name, member, folder, archive)
    except (tarfile.TarError, EOFError) as error:
        raise ConfigError(f"{archive}: is no backup, or not whole ({error})") from error
    return Unpacked(folder, manifest.about, tuple(manifest.files))


def _manifest(tar: tarfile.TarFile, archive: Path) -> Manifest:
    first = tar.next()
    content = tar.extractfile(first) if first is not None and first.name == MANIFEST else None
    if first is None or content is None or first.size > MANIFEST_BYTES_MOST:
        raise ConfigError(f"{archive}: is no backup of Transom")
    try:
        manifest = msgspec.json.decode(content.read(), type=Manifest)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{archive}: its manifest cannot be read ({error})") from error
    if manifest.format > FORMAT:
        raise ConfigError(f"{archive}: made by a newer Transom; restore it with that one")
    return manifest


def _extract(tar: tarfile.TarFile, name: str, member: Member, folder: Path, archive: Path) -> None:
    found = tar.next()
    content = None if found is None or found.name != name else tar.extractfile(found)
    parts = PurePosixPath(name).parts
    if content is None or name.startswith("/") or ".." in parts:
        raise ConfigError(f"{archive}: lacks {name}, or holds what its manifest does not name")
    to = folder.joinpath(*parts)
    to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest = hashlib.sha256()
    handle = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        while chunk := content.read(CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
        length = file.tell()
        file.flush()
        os.fsync(file.fileno())
    if (length, digest.hexdigest()) != (member.bytes, member.sha256):
        raise ConfigError(f"{archive}: {name} is not as it was written; use another backup")
    sync_folder(to.parent)


def _member(path: Path) -> Member:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return Member(file.tell(), digest.hexdigest())


class _Hashed(io.RawIOBase):
    """A file's content as it is read; `digest` is of that. Raises: ConfigError where it ends."""

    def __init__(self, path: Path, content: IO[bytes]) -> None:
        self._path = path
        self._content = content
        self.digest = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        chunk = self._content.read(size)
        if len(chunk) < size:
            raise _changed(self._path)
        self.digest.update(chunk)
        return chunk


def _changed(path: Path) -> ConfigError:
    return ConfigError(f"{path}: changed while it was read; take the backup again")


def _add_file(tar: tarfile.TarFile, name: str, path: Path, member: Member) -> None:
    """Raises: ConfigError unless the file is still what the manifest says."""
    with path.open("rb") as content:
        hashed = _Hashed(path, content)
        _add(tar, name, cast(IO[bytes], hashed), member.bytes)
    if hashed.digest.hexdigest() != member.sha256:
        raise _changed(path)


def _add(tar: tarfile.TarFile, name: str, content: IO[bytes], length: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = length, 0o600
    tar.addfile(info, content)
