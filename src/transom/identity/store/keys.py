# SPDX-License-Identifier: Apache-2.0
"""The keys of tokens: `token-N.key`, sealed, in a folder that only its owner may enter.

A key is rotated by adding the file of the next number, in whatever process; the old file goes when
the last token that it sealed has ended.

Invariants:
1. Processes that start at once on an empty folder agree on the first key.
2. Each token is sealed and opened with the keys that the folder has then: it is looked at again
   when its time of change is another, or a token names a key that is not known.
"""

import contextlib
import re
from pathlib import Path

from transom.errors import ConfigError, InternalError
from transom.identity.logic import rotation
from transom.identity.logic.token import KEY_BYTES, NONCE_BYTES, TokenCodec, key_number
from transom.identity.model import Claims
from transom.runtime.ids import Randomness
from transom.runtime.sealing import SealBroken, Sealer, make_once
from transom.runtime.secrets import private_folder, sync_folder

_FILE_NAME = re.compile(r"token-(\d{1,9})\.key")


class KeyRing:
    """The keys of one folder, once loaded."""

    def __init__(self, folder: Path, sealer: Sealer, random: Randomness) -> None:
        self._folder = folder
        self._sealer = sealer
        self._random = random
        self._codec: TokenCodec | None = None
        self._changed_ns = 0

    def load(self) -> None:
        """Reads all keys; makes the first one. Raises: ConfigError."""
        private_folder(self._folder)
        if not self._read():
            self._make(1)
        self._load()

    def seal(self, claims: Claims) -> str:
        """The text of a new token."""
        return self._current().seal(claims, self._random(NONCE_BYTES))

    def open(self, text: str) -> Claims:
        """The claims, expired ones too. Raises: InvalidToken."""
        codec = self._current()
        number = key_number(text)
        if not codec.has(number) and self._path(number).exists():
            codec = self._load()
        return codec.open(text)

    def rotate(self, now_s: float) -> tuple[int, list[int]]:
        """Makes the next key; removes those that nobody needs. Answers the numbers of both."""
        private_folder(self._folder)
        made_s = {number: path.stat().st_mtime for number, path in self._files().items()}
        number = max(made_s, default=0) + 1
        self._make(number)
        gone = rotation.ended(made_s, now_s)
        for old in gone:
            self._path(old).unlink(missing_ok=True)
        sync_folder(self._folder)
        return number, gone

    def _current(self) -> TokenCodec:
        if self._codec is None:
            raise InternalError(detail="the keys of tokens are used before they are loaded")
        if self._folder.stat().st_mtime_ns == self._changed_ns:
            return self._codec
        return self._load()

    def _load(self) -> TokenCodec:
        changed_ns = self._folder.stat().st_mtime_ns
        keys = self._read()
        if not keys:
            raise InternalError(detail=f"{self._folder}: has no key of tokens any more")
        self._codec = TokenCodec(keys)
        self._changed_ns = changed_ns
        return self._codec

    def _read(self) -> dict[int, bytes]:
        keys = {}
        for number, path in self._files().items():
            with contextlib.suppress(FileNotFoundError):  # a rotation has just removed it
                keys[number] = self._key(path)
        return keys

    def _files(self) -> dict[int, Path]:
        found = ((_FILE_NAME.fullmatch(path.name), path) for path in self._folder.iterdir())
        return {int(match[1]): path for match, path in found if match is not None}

    def _path(self, number: int) -> Path:
        return self._folder / f"token-{number}.key"

    def _make(self, number: int) -> None:
        """Leaves a key of this number as it is."""
        path = self._path(number)
        make_once(path, self._sealer.seal(self._random(KEY_BYTES), path.name), self._random)

    def _key(self, path: Path) -> bytes:
        with contextlib.suppress(SealBroken):
            key = self._sealer.read(path)
            if len(key) == KEY_BYTES:
                return key
        raise ConfigError(f"{path}: is no key of tokens; remove it, and all tokens are void")
