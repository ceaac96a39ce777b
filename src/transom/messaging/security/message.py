# SPDX-License-Identifier: Apache-2.0
"""One message, sealed for its place; `reading` opens it there.

    signed      {"oslo.version": V, "oslo.message": M, "transom.head": H, "transom.security": S}
    encrypted   MAGIC, length of the head (4), head, times, ciphertext and tag, proof

The head is pack(metadata, ticket); H is base64 of it, S base64 of times, tag and proof. A
signed body is the one that was given with two keys put in before its last brace: what is checked
are exactly its bytes, nothing is written anew. A body that is no envelope travels as the text of
one. What does not change from one message to the next is in the head, which both sides take in
once: after that a message costs a cipher, its times, and the copying.

The proof, only to a group, shows that the source itself made the message: leaves, signature, and
how many leaves (1 byte). A leaf is a message's hash; one signature serves for all messages that a
source makes at one time, and each carries the leaves of all of them.

Invariants:
1. `Reader.decode` answers the bytes that were given to `Writer.encode`, with the metadata that it
   put beside them, or raises; for whatever bytes.
2. The metadata (who, to whom, where, which suite and mode) and the times are bound to the body.
3. Of a group, who has the key but not the source's signing key seals nothing that is accepted.
"""

import struct
from binascii import b2a_base64
from collections.abc import Sequence
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from transom.messaging.security.sealing import framed, pack
from transom.messaging.security.sessions import Place, Role, Session

MAGIC = b"\xd3TM1"
TIMES = struct.Struct("!QQQ")
"""The counter, when it was sent, its deadline (ms since 1970; 0 is none)."""
LENGTH = struct.Struct("!I")
TAG_BYTES = 16
SIGNATURE_BYTES = 64
LEAF_BYTES = 32
LEAVES_MAX = 16
"""Messages under one signature: each carries the leaves of all."""
VERSION = b'{"oslo.version":"2.0","oslo.message":'
HEAD, SECURITY, END = b',"transom.head":"', b'","transom.security":"', b'"}'
NONCE_BEGIN = bytes(4)
_ENVELOPE = b'{"oslo.version"'
_PURPOSE = "transom message 1"


class Mode(StrEnum):
    """What is done to messages."""

    NONE = "none"
    SIGN = "sign"
    ENCRYPT = "encrypt"


class Form(StrEnum):
    """What the body was before it was signed."""

    ENVELOPE = "envelope"
    TEXT = "text"
    BYTES = "bytes"


class Metadata(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is known of messages without opening them.

    `session` is the id of the ticket; `instance` is drawn by each process that sends. `reply_to` is
    the source's reply address, `answers` the id of the session of the request that a reply answers.
    """

    suite: str
    mode: Mode
    form: Form
    role: Role
    source: str
    destination: str
    session: bytes
    instance: bytes
    kind: str
    name: str
    part: str
    exchange: str
    reply_to: str
    answers: bytes

    @property
    def place(self) -> Place:
        return Place(self.kind, self.name, self.part, self.exchange)


class Way(NamedTuple):
    """How a source reaches a place. `signing`: the source's key, for a group. `instance`: the
    sender's own.
    """

    session: Session
    role: Role
    place: Place
    instance: bytes
    signing: Ed25519PrivateKey | None = None
    reply_to: str = ""
    answers: bytes = b""

    def metadata(self, mode: Mode, form: Form) -> bytes:
        session = self.session
        ends = (session.source, session.destination)
        return _write(
            Metadata(
                session.suite,
                mode,
                form,
                self.role,
                *(ends if self.role is Role.REQUEST else ends[::-1]),
                session.id,
                self.instance,
                *self.place,
                self.reply_to,
                self.answers,
            )
        )


class Writer:
    """Seals what goes one way, in one mode."""

    def __init__(self, way: Way, mode: Mode) -> None:
        self.way = way
        self._mode = mode
        self._tracks: dict[Form, _Track] = {}
        self._plain = self._track(Form.ENVELOPE)

    def encode(self, body: bytes, *, counter: int, sent_ms: int, deadline_ms: int) -> bytes:
        """The body, sealed; a counter is used once in an instance and place."""
        times = TIMES.pack(counter, sent_ms, deadline_ms)
        if self.way.signing is not None:
            return signed(self.way.signing, [self._draft(body, times)])[0]
        nonce = NONCE_BEGIN + times[:8]
        track = self._plain
        if self._mode is Mode.ENCRYPT:
            return b"".join((track.begin, times, track.cipher.encrypt(nonce, body, times)))
        if not (body.startswith(_ENVELOPE) and body.endswith(b"}")):
            track, body = self._enveloped(body)
        text = body[:-1]
        security = times + track.cipher.encrypt(nonce, b"", times + text)
        return b"".join((text, track.begin, b2a_base64(security, newline=False), END))

    def draft(self, body: bytes, *, counter: int, sent_ms: int, deadline_ms: int) -> "Draft":
        """As `encode`, to be signed with others (see `signed`)."""
        return self._draft(body, TIMES.pack(counter, sent_ms, deadline_ms))

    def _draft(self, body: bytes, times: bytes) -> "Draft":
        nonce = NONCE_BEGIN + times[:8]
        track = self._plain
        if self._mode is Mode.ENCRYPT:
            sealed = track.cipher.encrypt(nonce, body, times)
            return Draft(track.begin, times + sealed, leaf_of(track.metadata, times, sealed), False)
        if not (body.startswith(_ENVELOPE) and body.endswith(b"}")):
            track, body = self._enveloped(body)
        text = body[:-1]
        security = times + track.cipher.encrypt(nonce, b"", times + text)
        leaf = leaf_of(track.metadata, times, text)
        return Draft(text + track.begin, security, leaf, True)

    def _enveloped(self, body: bytes) -> tuple["_Track", bytes]:
        form, body = _enveloped(body)
        return self._tracks.get(form) or self._track(form), body

    def _track(self, form: Form) -> "_Track":
        session = self.way.session
        metadata = self.way.metadata(self._mode, form)
        head = pack(metadata, session.ticket if self.way.role is Role.REQUEST else b"")
        if self._mode is Mode.ENCRYPT:
            begin = MAGIC + LENGTH.pack(len(head)) + head
        else:
            begin = HEAD + b2a_base64(head, newline=False) + SECURITY
        track = self._tracks[form] = _Track(metadata, session.cipher(metadata), begin)
        return track


class Draft(NamedTuple):
    """A message to a group, all but its signature. `leaf` stands for it under one of several."""

    begin: bytes
    security: bytes
    leaf: bytes
    is_text: bool


class _Track(NamedTuple):
    """What the messages of a way and form have in common. `begin`: what stands before the times."""

    metadata: bytes
    cipher: AESGCM
    begin: bytes


def signed(signing: Ed25519PrivateKey, drafts: Sequence[Draft]) -> list[bytes]:
    """The messages, under one signature; 1 to `LEAVES_MAX`, whatever their groups."""
    leaves = b"".join(draft.leaf for draft in drafts)
    proof = b"".join((leaves, signing.sign(to_sign(leaves)), bytes([len(drafts)])))
    return [
        b"".join((draft.begin, b2a_base64(draft.security + proof, newline=False), END))
        if draft.is_text
        else b"".join((draft.begin, draft.security, proof))
        for draft in drafts
    ]


def leaf_of(metadata: bytes, times: bytes, content: bytes) -> bytes:
    """`content`: ciphertext and tag, or the envelope without its last brace."""
    return sha256(framed(_PURPOSE, metadata, times, content)).digest()


def to_sign(leaves: bytes) -> bytes:
    return framed("transom messages 1", leaves)


def _enveloped(body: bytes) -> tuple[Form, bytes]:
    """Something that ends with a brace and that peers can read."""
    try:
        form, text = Form.TEXT, body.decode()
    except UnicodeDecodeError:
        form, text = Form.BYTES, b2a_base64(body, newline=False).decode()
    return form, VERSION + _to_json(text) + b"}"


_write = msgspec.msgpack.Encoder().encode
_to_json = msgspec.json.Encoder().encode
