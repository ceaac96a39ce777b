# SPDX-License-Identifier: Apache-2.0
"""Secrets at rest: sealed with AES-256-GCM under a master key that may lie elsewhere.

A sealed value is `TS1`, the id of its master key (8 bytes), a nonce (12), the ciphertext with its
tag. Each purpose (the name of a file, of a column) has a key of its own, derived by HKDF-SHA256,
and is bound into the seal: a value that was moved to another place does not open there.

The master keys are a text: base64 of 32 bytes a line; the first one seals, all of them open. They
are rotated by putting a new one first, sealing everything again, and dropping the last.

Invariants:
1. A sealed value that cannot be opened is an error that says why.
2. Processes that start at once on an empty folder agree on the first master key.
3. One rotation of a folder goes on at a time: of two, one would drop the key of the other.
4. A master key is dropped only when nothing is sealed under it, in the folder or in databases.
"""

import base64
import binascii
import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from transom.errors import ConfigError
from transom.runtime.ids import Randomness
from transom.runtime.secrets import (
    Secret,
    private_folder,
    read_private,
    sync_folder,
    write_private,
)

MASTER_KEY_FILE = "master.key"
SEALED = frozenset({".key", ".password"})
"""Endings of the files in a folder of keys that are sealed. What a person has to read there has
another one."""
MAGIC = b"TS1"
KEY_BYTES = 32
_ID_BYTES = 8
_NONCE_BYTES = 12
_HEAD_BYTES = len(MAGIC) + _ID_BYTES + _NONCE_BYTES


class SealBroken(ConfigError):
    """The value is not as it was sealed."""


class Sealer:
    """Seals with the first of the master keys, opens with any of them.

    `read_keys` is called for each value that is sealed, and for one of a key that is not known: a
    rotation while this process runs is followed, so nothing is sealed under a key that has left.
    """

    def __init__(self, read_keys: Callable[[], Sequence[bytes]], random: Randomness) -> None:
        self._read_keys = read_keys
        self._random = random
        self._keys: dict[bytes, bytes] = {}
        self._primary = b""

    def seal(self, plain: bytes, purpose: str) -> bytes:
        self._load()
        nonce = self._random(_NONCE_BYTES)
        cipher = _cipher(self._keys[self._primary], purpose)
        return MAGIC + self._primary + nonce + cipher.encrypt(nonce, plain, purpose.encode())

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """Raises: SealBroken; ConfigError if its master key is not here."""
        if len(sealed) < _HEAD_BYTES or not sealed.startswith(MAGIC):
            raise SealBroken(f"{purpose}: is not sealed; restore it from a backup")
        key_id, nonce = sealed[len(MAGIC) :][:_ID_BYTES], sealed[:_HEAD_BYTES][-_NONCE_BYTES:]
        if key_id not in self._keys:
            self._load()
        key = self._keys.get(key_id)
        if key is None:
            raise ConfigError(
                f"{purpose}: was sealed under the master key {key_id.hex()}, which is not here; "
                "give that key, or restore the folder from a backup"
            )
        try:
            return _cipher(key, purpose).decrypt(nonce, sealed[_HEAD_BYTES:], purpose.encode())
        except InvalidTag:
            raise SealBroken(
                f"{purpose}: was changed, or moved here from elsewhere; restore it from a backup"
            ) from None

    @property
    def head(self) -> bytes:
        """What every value begins with that is sealed under the first key."""
        if not self._keys:
            self._load()
        return MAGIC + self._primary

    def is_current(self, sealed: bytes) -> bool:
        """Whether it is sealed under the first key."""
        return sealed.startswith(self.head)

    def follow(self) -> None:
        """Looks at the master keys again, as sealing does: they may have been rotated.

        Raises: ConfigError.
        """
        self._load()

    def derived(self, purpose: str) -> tuple[bytes, ...]:
        """A key of each master key for a purpose that seals nothing; the first one's first.

        Raises: ConfigError.
        """
        self._load()
        return tuple(_derived(key, f"derived:{purpose}") for key in self._keys.values())

    def read(self, path: Path) -> bytes:
        """A file's content, opened if it is sealed; its purpose is its name.

        Version 0.1 left keys plain; they stay so until a rotation. Raises: ConfigError,
        FileNotFoundError.
        """
        found = read_private(path)
        return self.open(found, path.name) if found.startswith(MAGIC) else found

    def write(self, path: Path, plain: bytes) -> None:
        """Replaces the file, whole or not at all."""
        write_private(path, self.seal(plain, path.name))

    def seal_again(self, folder: Path) -> list[str]:
        """Seals all files of the folder under the first key; answers the names of those that were
        not. Their times of change stay. Raises: ConfigError, with nothing lost.
        """
        names = []
        for path in sorted(folder.iterdir()):
            if path.suffix not in SEALED or path.name == MASTER_KEY_FILE:
                continue
            if not self.is_current(read_private(path)):
                times = path.stat()
                self.write(path, self.read(path))
                os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
                names.append(path.name)
        return names

    def _load(self) -> None:
        keys = self._read_keys()
        self._keys = {_id_of(key): key for key in keys}
        self._primary = _id_of(keys[0])


def master_keys(text: str, where: str) -> list[bytes]:
    """The keys of the text, separated by white space or commas. Raises: ConfigError."""
    keys = []
    for word in text.replace(",", " ").split():
        try:
            key = base64.b64decode(word, validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != KEY_BYTES:
            raise ConfigError(
                f"{where}: a master key is base64 of {KEY_BYTES} bytes; "
                f"make one with: head -c {KEY_BYTES} /dev/urandom | base64"
            )
        keys.append(key)
    if not keys:
        raise ConfigError(f"{where}: holds no master key")
    return keys


def sealer_of(folder: Path, given: Secret, random: Randomness) -> Sealer:
    """With the master keys that were given, or else those of the file in the folder of keys, which
    is made when it is needed. Using it raises: ConfigError.
    """

    def read_keys() -> list[bytes]:
        if given:
            return master_keys(given.reveal(), "[secrets] master_key")
        return _kept(folder, random)

    return Sealer(read_keys, random)


def rotate(
    folder: Path,
    given: Secret,
    random: Randomness,
    say: Callable[[str], None],
    elsewhere: Callable[[Sealer], Sequence[str]] = lambda sealer: (),
) -> None:
    """Seals every secret of the folder under the newest master key, and those that are elsewhere.

    `elsewhere`: seals again, by the sealer, what lies in databases; answers what that was.

    Without given keys makes a new one first; the one before stays in the file until the next
    rotation, since a process that runs may still seal with it. Raises: ConfigError, and what
    `elsewhere` raises, with nothing lost.
    """
    private_folder(folder)
    with _alone(folder):
        if not given:
            old = _kept(folder, random)
            # Safety: first everything is sealed under the two newest, then the others are dropped.
            newest = Sealer(lambda: old, random)
            newest.seal_again(folder)
            elsewhere(newest)
            write_private(folder / MASTER_KEY_FILE, _text_of([random(KEY_BYTES), old[0]]))
            say("a new master key is in place")
        sealer = sealer_of(folder, given, random)
        for name in [*sealer.seal_again(folder), *elsewhere(sealer)]:
            say(f"sealed again: {name}")


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Raises: ConfigError while another rotation of the folder goes on."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"{folder}: its secrets are being sealed by another process; let it end"
            ) from None
        yield
    finally:
        os.close(handle)


def _kept(folder: Path, random: Randomness) -> list[bytes]:
    """The keys of the folder's own file, which is made if there is none."""
    path = folder / MASTER_KEY_FILE
    if not path.exists():
        private_folder(folder)
        make_once(path, _text_of([random(KEY_BYTES)]), random)
    return master_keys(read_private(path).decode("ascii", "replace"), str(path))


def make_once(path: Path, content: bytes, random: Randomness) -> None:
    """Makes the file, unless another process was first: it gets its name by a link."""
    beside = path.with_name(f".new-{random(8).hex()}")
    write_private(beside, content)
    try:
        with contextlib.suppress(FileExistsError):
            os.link(beside, path)
    finally:
        beside.unlink()
    sync_folder(path.parent)


def _text_of(keys: Sequence[bytes]) -> bytes:
    return b"".join(base64.b64encode(key) + b"\n" for key in keys)


def _id_of(key: bytes) -> bytes:
    return hashlib.sha256(b"transom master key" + key).digest()[:_ID_BYTES]


def _cipher(key: bytes, purpose: str) -> AESGCM:
    return AESGCM(_derived(key, purpose))


def _derived(key: bytes, purpose: str) -> bytes:
    """A purpose that begins with `derived:` is no value's, since no file or column is called so."""
    info = f"transom:{purpose}".encode()
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=info).derive(key)
