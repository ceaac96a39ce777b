# SPDX-License-Identifier: Apache-2.0
"""The keys of tokens: `token-N.key` in a folder that only its owner may enter.

A key is rotated by adding the file of the next number and starting the processes anew; the old file
goes when the last token that it sealed has ended.

Invariant: processes that start at once on an empty folder agree on the first key: it gets its name
by a link, which only one of them makes.
"""

import contextlib
import os
import re
from pathlib import Path

from transom.errors import ConfigError, InternalError
from transom.identity.logic.token import KEY_BYTES, TokenCodec
from transom.runtime.ids import Randomness
from transom.runtime.secrets import private_folder, read_private, sync_folder, write_private

_FILE_NAME = re.compile(r"token-(\d{1,9})\.key")


class KeyRing:
    """The keys of one folder, once loaded."""

    def __init__(self, folder: Path, random: Randomness) -> None:
        self._folder = folder
        self._random = random
        self._codec: TokenCodec | None = None

    @property
    def codec(self) -> TokenCodec:
        if self._codec is None:
            raise InternalError(detail="the keys of tokens are used before they are loaded")
        return self._codec

    def load(self) -> None:
        """Reads all keys; makes the first one. Raises: ConfigError."""
        private_folder(self._folder)
        keys = self._read()
        if not keys:
            self._make(1)
            keys = self._read()
        self._codec = TokenCodec(keys)

    def _read(self) -> dict[int, bytes]:
        keys: dict[int, bytes] = {}
        for path in self._folder.iterdir():
            match = _FILE_NAME.fullmatch(path.name)
            if match is not None:
                keys[int(match[1])] = _key(path)
        return keys

    def _make(self, number: int) -> None:
        beside = self._folder / f"new-{self._random(8).hex()}"
        write_private(beside, self._random(KEY_BYTES))
        try:
            with contextlib.suppress(FileExistsError):
                os.link(beside, self._folder / f"token-{number}.key")
        finally:
            beside.unlink()
        sync_folder(self._folder)


def _key(path: Path) -> bytes:
    key = read_private(path)
    if len(key) != KEY_BYTES:
        raise ConfigError(
            f"{path}: is no key of tokens ({len(key)} bytes); remove it, and all tokens are void"
        )
    return key
