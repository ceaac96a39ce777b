# SPDX-License-Identifier: Apache-2.0
"""Secrets at rest: sealed with AES-256-GCM under a master key that may lie elsewhere.

A sealed value is `TS1`, the id of its master key (8 bytes), a nonce (12), the ciphertext with its
tag. Each purpose (the name of a file, of a column) has a key of its own, derived by HKDF-SHA256,
and is bound into the seal: a value that was moved to another place does not open there.

The master keys are a text: base64 of 32 bytes a line; the first one seals, all of them open. They
are rotated by putting a new one first, sealing everything again, and dropping the last.

Invariants:
1. What cannot be opened is an error that says why; nothing is ever taken for plain text.
2. Processes that start at once on an empty folder agree on the first master key.
"""

import base64
import binascii
import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence
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
MAGIC = b"TS1"
KEY_BYTES = 32
_ID_BYTES = 8
_NONCE_BYTES = 12
_HEAD_BYTES = len(MAGIC) + _ID_BYTES + _NONCE_BYTES


class Sealer:
    """Seals with the first of `keys`, opens with any of them."""

    def __init__(self, keys: Sequence[bytes], random: Randomness) -> None:
        self._keys = {_id_of(key): key for key in keys}
        self._primary = _id_of(keys[0])
        self._random = random

    def seal(self, plain: bytes, purpose: str) -> bytes:
        nonce = self._random(_NONCE_BYTES)
        cipher = _cipher(self._keys[self._primary], purpose)
        return MAGIC + self._primary + nonce + cipher.encrypt(nonce, plain, purpose.encode())

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """Raises: ConfigError if the master key is another, or the value was changed or moved."""
        if len(sealed) < _HEAD_BYTES or not sealed.startswith(MAGIC):
            raise ConfigError(f"{purpose}: is not sealed; restore it from a backup")
        key_id, nonce = sealed[len(MAGIC) :][:_ID_BYTES], sealed[:_HEAD_BYTES][-_NONCE_BYTES:]
        key = self._keys.get(key_id)
        if key is None:
            raise ConfigError(
                f"{purpose}: was sealed under the master key {key_id.hex()}, which is not here; "
                "give that key, or restore the folder from a backup"
            )
        try:
            return _cipher(key, purpose).decrypt(nonce, sealed[_HEAD_BYTES:], purpose.encode())
        except InvalidTag:
            raise ConfigError(
                f"{purpose}: was changed, or moved here from elsewhere; restore it from a backup"
            ) from None

    def is_current(self, sealed: bytes) -> bool:
        """Whether it is sealed under the first key."""
        return sealed.startswith(MAGIC + self._primary)

    def read(self, path: Path) -> bytes:
        """A sealed file, opened; its purpose is its name.

        Raises: ConfigError, FileNotFoundError.
        """
        return self.open(read_private(path), path.name)

    def write(self, path: Path, plain: bytes) -> None:
        """Replaces the file, whole or not at all."""
        write_private(path, self.seal(plain, path.name))

    def seal_again(self, folder: Path) -> list[str]:
        """All sealed files of the folder under the first key; answers the names of those that were
        under another. Raises: ConfigError, with nothing lost."""
        names = []
        for path in sorted(folder.iterdir()):
            if not path.is_file() or path.name.startswith("."):
                continue
            sealed = read_private(path)
            if sealed.startswith(MAGIC) and not self.is_current(sealed):
                self.write(path, self.open(sealed, path.name))
                names.append(path.name)
        return names


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


def load_sealer(folder: Path, given: Secret, random: Randomness) -> Sealer:
    """With the master keys that were given, or else those of the file in the folder of keys, which
    is made if there is none. Raises: ConfigError."""
    if given:
        return Sealer(master_keys(given.reveal(), "[secrets] master_key"), random)
    private_folder(folder)
    path = folder / MASTER_KEY_FILE
    if not path.exists():
        make_once(path, _text_of([random(KEY_BYTES)]), random)
    return Sealer(master_keys(read_private(path).decode("ascii", "replace"), str(path)), random)


def rotate(folder: Path, given: Secret, random: Randomness, say: Callable[[str], None]) -> None:
    """Seals every file of the folder under the newest master key.

    Without given keys makes a new one first; the one before stays in the file until the next
    rotation, since a process that runs may still seal with it. Raises: ConfigError.
    """
    if not given:
        path = folder / MASTER_KEY_FILE
        load_sealer(folder, given, random)
        old = master_keys(read_private(path).decode("ascii", "replace"), str(path))
        # Safety: first everything is sealed under the two newest, then the others are dropped.
        Sealer(old, random).seal_again(folder)
        write_private(path, _text_of([random(KEY_BYTES), old[0]]))
        say("a new master key is in place")
    for name in load_sealer(folder, given, random).seal_again(folder):
        say(f"sealed again: {name}")


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
    derived = HKDF(SHA256(), KEY_BYTES, salt=None, info=f"transom:{purpose}".encode()).derive(key)
    return AESGCM(derived)
