# SPDX-License-Identifier: Apache-2.0
"""Feeds as JSON values, as they stand in the arguments and results of calls and casts.

| what | form |
|---|---|
| change | [table, [key parts], row or null] |
| change set | {epoch, n, changes}; with part and parts if it is a part of one |
| head | {epoch, n, digest, tables: {table: digest} or null, idle: [table], schema} |
| chunk | {epoch, n, rows: [change], after: [table, [key parts]] or null} |

Digests are 32 hexadecimal digits; `idle` and `schema` are left out where empty.

Invariant: what comes from the wire becomes these nouns or raises InvalidEnvelope. Members that are
not known are skipped.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from transom.errors import InvalidEnvelope
from transom.messaging.proto.feed.change import Change, ChangeSet, Chunk, Cursor, Head, Key, Part

Json = dict[str, Any]
_Coded = tuple[str, Key, Json | None]
Model = TypeVar("Model")


class _Changes(msgspec.Struct):
    epoch: int
    n: int
    changes: list[_Coded]
    part: int = 0
    parts: int = 1


class _Head(msgspec.Struct):
    epoch: int
    n: int
    digest: str
    tables: dict[str, str] | None = None
    idle: frozenset[str] = frozenset()
    schema: str = ""


class _Chunk(msgspec.Struct):
    epoch: int
    n: int
    rows: list[_Coded]
    after: Cursor | None


class _SinceAnswer(msgspec.Struct):
    change_sets: list[_Changes] | None
    head: _Head


class _ChunkAnswer(msgspec.Struct):
    chunk: _Chunk
    head: _Head


class _Cursor(msgspec.Struct):
    after: Cursor | None


class _Beat(_Head, kw_only=True):
    source: str


PUBLISHER = "publisher"
"""The server of a feed's topic: the name is always the same, so that a broker's queue of it is."""


def feed_topic(source: str) -> str:
    """Where `head`, `since` and `snapshot` of the source's feed are answered."""
    return f"feed.{source}"


def changes_topic(source: str) -> str:
    """Where its change sets are fanned out."""
    return f"feed.{source}.changes"


def encode_changes(changes: ChangeSet | Part, schema: str = "") -> Json:
    """`schema`: the fingerprint of the schemas that they are sent under; empty: not told."""
    coded: Json = {"epoch": changes.epoch, "n": changes.n, "changes": _encoded(changes.changes)}
    if schema:
        coded["schema"] = schema
    if isinstance(changes, Part):
        coded["part"], coded["parts"] = changes.part, changes.parts
    return coded


def decode_changes(value: object) -> ChangeSet | Part:
    """Raises: InvalidEnvelope."""
    found = _convert(value, _Changes)
    if found.parts <= 1:
        return _change_set(found)
    if not 0 <= found.part < found.parts:
        raise InvalidEnvelope("a part of a change set has an impossible number")
    return Part(found.epoch, found.n, found.part, found.parts, _changes(found.changes))


def schema_of(value: object) -> str:
    """The fingerprint that came with change sets; empty if none did."""
    told = value.get("schema") if isinstance(value, dict) else None
    return told if isinstance(told, str) else ""


def encode_head(head: Head) -> Json:
    tables = None
    if head.tables is not None:
        tables = {name: _hex(digest) for name, digest in head.tables.items()}
    coded: Json = {"epoch": head.epoch, "n": head.n, "digest": _hex(head.digest), "tables": tables}
    if head.idle:
        coded["idle"] = sorted(head.idle)
    if head.schema:
        coded["schema"] = head.schema
    return coded


def decode_head(value: object) -> Head:
    """Raises: InvalidEnvelope."""
    return _head(_convert(value, _Head))


def encode_beat(heads: Mapping[str, Head]) -> list[Json]:
    """The heads of many feeds by source."""
    return [{"source": source, **encode_head(head)} for source, head in heads.items()]


def decode_beat(value: object) -> dict[str, Head]:
    """Raises: InvalidEnvelope."""
    return {beat.source: _head(beat) for beat in _convert(value, list[_Beat])}


def encode_since(change_sets: Sequence[ChangeSet] | None, head: Head) -> Json:
    coded = None if change_sets is None else [encode_changes(made) for made in change_sets]
    return {"change_sets": coded, "head": encode_head(head)}


def decode_since(value: object) -> tuple[tuple[ChangeSet, ...] | None, Head]:
    """Raises: InvalidEnvelope."""
    found = _convert(value, _SinceAnswer)
    if found.change_sets is None:
        return None, _head(found.head)
    return tuple(_change_set(made) for made in found.change_sets), _head(found.head)


def encode_chunk(chunk: Chunk, head: Head) -> Json:
    coded = {
        "epoch": chunk.epoch,
        "n": chunk.n,
        "rows": _encoded(chunk.rows),
        "after": chunk.after,
    }
    return {"chunk": coded, "head": encode_head(head)}


def decode_chunk(value: object) -> tuple[Chunk, Head]:
    """Raises: InvalidEnvelope."""
    found = _convert(value, _ChunkAnswer)
    chunk = found.chunk
    return Chunk(chunk.epoch, chunk.n, _changes(chunk.rows), chunk.after), _head(found.head)


def decode_cursor(value: object) -> Cursor | None:
    """Raises: InvalidEnvelope."""
    return _convert({"after": value}, _Cursor).after


def _convert(value: object, kind: type[Model]) -> Model:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise InvalidEnvelope("a feed's message has another form", detail=str(error)) from error


def _encoded(changes: tuple[Change, ...]) -> list[tuple[str, Key, Any]]:
    return [(change.table, change.key, change.row) for change in changes]


def _changes(coded: list[_Coded]) -> tuple[Change, ...]:
    return tuple(Change(table, key, row) for table, key, row in coded)


def _change_set(found: _Changes) -> ChangeSet:
    return ChangeSet(found.epoch, found.n, _changes(found.changes))


def _hex(digest: int) -> str:
    return f"{digest:032x}"


def _head(found: _Head) -> Head:
    try:
        tables = None
        if found.tables is not None:
            tables = {name: int(digest, 16) for name, digest in found.tables.items()}
        digest = int(found.digest, 16)
        return Head(found.epoch, found.n, digest, tables, found.idle, found.schema)
    except ValueError as error:
        raise InvalidEnvelope("a feed's digest is no number", detail=str(error)) from error
