# SPDX-License-Identifier: Apache-2.0
"""Messages as lines: what `transom queue` reads and writes.

Invariant: the JSON of a body is passed on as it came, number by number; only line breaks between
its tokens go.
"""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from transom.errors import BadRequest
from transom.queue.client.shapes import New
from transom.queue.client.values import value_of

BATCH_BYTES = 200_000
"""What a request holds at most, but for one message alone; the server takes 262,144 by default."""
READ_BYTES = 1 << 16
LONGEST_KEY = 128


class Drained(msgspec.Struct, omit_defaults=True):
    """A message on a line of `drain` or `tail --json`."""

    id: str
    body: msgspec.Raw
    ttl: int = 0
    key: str | None = None
    created_at: str = ""
    expires_at: str = ""
    claim_count: int = 0
    dead_letter: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class DrainedClaim(msgspec.Struct):
    """A claim whose bodies are left as they are."""

    messages: list[Drained]
    claim_id: str = ""


class DrainedPage(msgspec.Struct):
    """A page whose bodies are left as they are."""

    messages: list[Drained]


class _Given(msgspec.Struct):
    """What is posted of a drained line; the rest tells of its past."""

    body: msgspec.Raw
    ttl: int | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Form:
    """How a line is read. `called`: what it is to who gave it."""

    json: bool = False
    drained: bool = False
    key_field: str | None = None
    ttl: int | None = None
    delay: int | None = None
    called: str = "line"

    def message(self, line: bytes, number: int) -> New:
        """Raises: BadRequest, with the line's number."""
        try:
            if self.drained:
                given = msgspec.json.decode(line, type=_Given)
                ttl = given.ttl if self.ttl is None else self.ttl
                return New(given.body, ttl, self.delay, given.key)
            if not self.json and not self.key_field:
                return New(line.decode(), self.ttl, self.delay)
            key = self._key(value_of(line, object))
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
            raise BadRequest(f"{self.called} {number}: {error}") from error
        return New(msgspec.Raw(line), self.ttl, self.delay, key)

    def _key(self, body: Any) -> str | None:
        if not self.key_field:
            return None
        value = body.get(self.key_field) if isinstance(body, dict) else None
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise ValueError(f"is no object with a text or number in {self.key_field!r}")
        key = str(value)
        if not 1 <= len(key) <= LONGEST_KEY:
            raise ValueError(f"{self.key_field!r} has 1 to {LONGEST_KEY} characters, for a key")
        return key


def as_line(message: Drained) -> bytes:
    """One line of JSON, with its end."""
    body = bytes(message.body)
    if b"\n" in body or b"\r" in body:
        message.body = msgspec.Raw(msgspec.json.format(body, indent=-1))
    return msgspec.json.encode(message) + b"\n"


def as_text(message: Drained) -> str:
    """For people: when it was posted, and the body; a terminal is sent nothing but text."""
    body = value_of(bytes(message.body), object)
    text = body if isinstance(body, str) else bytes(message.body).decode()
    shown = "".join(sign if sign.isprintable() else " " for sign in text)
    return f"{message.created_at}  {shown}"


class Batches:
    """Lines of a file, as many at a time as there are, up to `most`; blank ones are left out.

    `line` is that of the last message given, `read_bytes` how far the file is read.
    """

    def __init__(self, descriptor: int, most: int) -> None:
        self._descriptor = descriptor
        self._most = most
        self._rest = b""
        self._ended = False
        self.line = 0
        self.read_bytes = 0

    async def __aiter__(self) -> AsyncIterator[list[tuple[int, bytes]]]:
        batch: list[tuple[int, bytes]] = []
        size = 0
        async for lines in self._lines():
            for line in lines:
                self.line += 1
                text = line.strip(b"\r\n")
                if not text.strip():
                    continue
                if batch and (len(batch) >= self._most or size + len(text) > BATCH_BYTES):
                    yield batch
                    batch, size = [], 0
                batch.append((self.line, text))
                size += len(text)
            if batch and self._waits():
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _waits(self) -> bool:
        """Whether more may come later: what is there is not kept back for it."""
        return not stat.S_ISREG(os.fstat(self._descriptor).st_mode)

    async def _lines(self) -> AsyncIterator[Sequence[bytes]]:
        while data := await self._read():
            self.read_bytes += len(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            yield lines
        if self._rest:
            yield [self._rest]

    async def _read(self) -> bytes:
        mode = os.fstat(self._descriptor).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(self._descriptor):
            # Not in a thread: one that reads a terminal could not be ended.
            loop, ready = asyncio.get_running_loop(), asyncio.Event()
            loop.add_reader(self._descriptor, ready.set)
            try:
                await ready.wait()
            finally:
                loop.remove_reader(self._descriptor)
        return os.read(self._descriptor, READ_BYTES)


async def in_batches(bodies: Sequence[str], most: int) -> AsyncIterator[list[tuple[int, bytes]]]:
    """Arguments, numbered, as `Batches` gives lines."""
    batch: list[tuple[int, bytes]] = []
    size = 0
    for number, body in enumerate(bodies, 1):
        text = os.fsencode(body)
        if batch and (len(batch) >= most or size + len(text) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((number, text))
        size += len(text)
    yield batch
