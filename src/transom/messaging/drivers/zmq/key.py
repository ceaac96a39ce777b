# SPDX-License-Identifier: Apache-2.0
"""The bus key: one secret for all processes of a bus over tcp, and the CURVE key pairs of it.

A file of one line, base64 of 32 random bytes. HKDF-SHA256 derives two Curve25519 key pairs: the
*server* pair of every bound socket, and the *client* pair of every socket that connects. Who has
not the key knows neither the server's public key, without which no handshake begins, nor the
client's secret one, without which none ends.

Invariants:
1. A file that others may read, or that belongs to somebody else, is refused.
2. The key, and what is derived of it, shows in no `repr`, log or error.
"""

import base64
import binascii
import contextlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import zmq
import zmq.utils.z85
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from transom.errors import ConfigError, InvalidTransportURL
from transom.runtime.ids import Randomness

KEY_BYTES = 32
_MOST_FILE_BYTES = 4096
_INFO = b"transom zmq bus, version 1: "


@dataclass(frozen=True, slots=True)
class KeyPair:
    """As libzmq takes them: Z85 of 32 bytes each."""

    public: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, repr=False)
class BusKey:
    """The two pairs of one bus key."""

    server: KeyPair
    client: KeyPair

    @classmethod
    def of(cls, secret: bytes) -> Self:
        """`secret`: 32 bytes."""
        return cls(_pair(secret, b"server"), _pair(secret, b"client"))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises: InvalidTransportURL, which says what to do."""
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise InvalidTransportURL(
                f"{path}: {error.strerror}; every host of the bus needs a copy of its key there"
            ) from error
        try:
            _check(path, os.fstat(handle))
            text = os.read(handle, _MOST_FILE_BYTES)
        finally:
            os.close(handle)
        try:
            secret = base64.b64decode(text.strip(), validate=True)
        except (binascii.Error, ValueError):
            secret = b""
        if len(secret) != KEY_BYTES:
            raise InvalidTransportURL(
                f"{path}: is no bus key, which is one line, base64 of {KEY_BYTES} bytes"
            )
        return cls.of(secret)


def make_bus_key(path: Path, *, random: Randomness = os.urandom) -> None:
    """Writes a new key that only its owner may read. Raises: ConfigError; no file is replaced."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise ConfigError(
            f"{path}: is there already; a bus whose key is replaced must be started anew"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(base64.b64encode(random(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(handle)
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        raise ConfigError(f"{path}: {error.strerror}") from error


def _check(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise InvalidTransportURL(f"{path}: is no file")
    if found.st_uid not in (0, os.geteuid()):
        raise InvalidTransportURL(
            f"{path}: belongs to user {found.st_uid}, who could read the whole bus; "
            "make a copy of your own"
        )
    if found.st_mode & 0o077:
        raise InvalidTransportURL(
            f"{path}: others may read the bus key (mode {found.st_mode & 0o777:03o});"
            f" run: chmod 600 {path}"
        )


def _pair(secret: bytes, name: bytes) -> KeyPair:
    derived = HKDF(SHA256(), KEY_BYTES, salt=None, info=_INFO + name).derive(secret)
    text = zmq.utils.z85.encode(derived)
    return KeyPair(zmq.curve_public(text), text)
