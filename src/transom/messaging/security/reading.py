# SPDX-License-Identifier: Apache-2.0
"""A message that arrived, opened; see `message` for its form.

What heads say is checked once: a head that an authentic message had is known from then on, with the
key that opens all others with the same head. Invariant: nothing is remembered of a message that did
not open.
"""

from binascii import Error as NotBase64
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Mapping

import msgspec
from cryptography.exceptions import InvalidSignature as WrongSignature
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from transom.errors import InvalidCertificate, InvalidSignature, SecurityError, WrongDestination
from transom.messaging.security.message import (
    END,
    HEAD,
    LEAF_BYTES,
    LEAVES_MAX,
    MAGIC,
    NONCE_BEGIN,
    SECURITY,
    SIGNATURE_BYTES,
    TAG_BYTES,
    TIMES,
    VERSION,
    Form,
    Metadata,
    Mode,
    leaf_of,
    to_sign,
)
from transom.messaging.security.opening import Opener
from transom.messaging.security.sealing import framed, identify, read, unpack
from transom.messaging.security.sessions import Place, Role, Session

TRACKS_MAX = 4096
SOURCE_BYTES = 8
PROOFS_MAX = 1024
_HEAD_AT = len(MAGIC) + 4


class Replayed(SecurityError):
    """It was taken before. Who sealed it has the group's session, and need not be the source."""

    def __init__(self, metadata: Metadata) -> None:
        super().__init__("the message was taken before")
        self.metadata = metadata


class Track:
    """What messages with one head have in common. `stream` names whose copies of whose messages
    they are, and begins with who sends: a counter comes once in it.
    """

    __slots__ = ("cipher", "metadata", "raw", "session", "signing_key", "stream", "verifying")

    def __init__(self, raw: bytes, metadata: Metadata, session: Session, stream: bytes) -> None:
        self.raw = raw
        self.metadata = metadata
        self.session = session
        self.stream = stream
        self.cipher: AESGCM = session.cipher(raw)
        self.signing_key = b""
        self.verifying: Ed25519PublicKey | None = None
        if session.group:
            if session.certificate is None:
                raise InvalidCertificate("nobody vouches for the source's signature")
            self.signing_key = session.certificate.signing_key
            self.verifying = _verifying(self.signing_key)


class Opened(msgspec.Struct, frozen=True):
    """What arrived, authentic. Times are ms since 1970; `deadline_ms` 0 is none."""

    body: bytes
    track: Track
    counter: int
    sent_ms: int
    deadline_ms: int

    @property
    def metadata(self) -> Metadata:
        return self.track.metadata

    @property
    def session(self) -> Session:
        return self.track.session


class Reader:
    """Opens what arrives at some places, each with the names of whose copies arrive here."""

    def __init__(
        self,
        opener: Opener,
        places: Mapping[Place, tuple[str, ...]],
        *,
        known: Callable[[bytes, int, int], bool] | None = None,
    ) -> None:
        """`known`: of a stream, a counter and when it was sent, whether that message was taken."""
        self._opener = opener
        self._places = places
        self._tracks: dict[bytes, Track] = {}
        self._proofs: set[tuple[bytes, bytes]] = set()
        self._known = known

    def decode(self, data: bytes, now_ms: int) -> Opened | None:
        """None for a message without security.

        Whether it is new and of this time is `freshness`. Raises: KeyNeeded where a key must be
        fetched first; Replayed for one to a group that was taken before; InvalidSignature,
        InvalidCertificate, WrongDestination.
        """
        if data.startswith(MAGIC):
            at = _HEAD_AT + int.from_bytes(data[len(MAGIC) : _HEAD_AT], "big")
            head = data[_HEAD_AT:at]
            track = self._tracks.get(head)
            found = track or self._found(head, Mode.ENCRYPT, now_ms)
            times = data[at : at + TIMES.size]
            if found.verifying is None:
                body = _opened(found, times, data[at + TIMES.size :], times)
            else:
                end = _proof_at(data)
                sealed = data[at + TIMES.size : end]
                body = _opened(found, times, sealed, times)
                self._verify(found, found.verifying, data[end:], times, sealed)
        else:
            marks = _marks(data)
            if marks is None:
                return None
            at, begin = marks
            head = data[at + len(HEAD) : begin]
            track = self._tracks.get(head)
            found = track or self._found(_bytes(head), Mode.SIGN, now_ms)
            text, security = data[:at], _bytes(data[begin + len(SECURITY) : -len(END)])
            times = security[: TIMES.size]
            end = len(security) if found.verifying is None else _proof_at(security)
            if end != TIMES.size + TAG_BYTES:
                raise InvalidSignature("the security of the message has another length")
            _opened(found, times, security[TIMES.size : end], times + text)
            if found.verifying is not None:
                self._verify(found, found.verifying, security[end:], times, text)
            body = _body(found.metadata.form, text)
        if track is None:
            self._remember(head, found)
        return Opened(body, found, *TIMES.unpack(times))

    def _verify(
        self, track: Track, key: Ed25519PublicKey, proof: bytes, times: bytes, content: bytes
    ) -> None:
        """The source's signature: the members of the group have the session's key too.

        It costs more than all else, and is not for what was here before.
        """
        counter, sent_ms, _ = TIMES.unpack(times)
        if self._known is not None and self._known(track.stream, counter, sent_ms):
            raise Replayed(track.metadata)
        end = len(proof) - 1 - SIGNATURE_BYTES
        leaf = leaf_of(track.raw, times, content)
        leaves = proof[:end]
        if not any(leaves[at : at + LEAF_BYTES] == leaf for at in range(0, end, LEAF_BYTES)):
            raise InvalidSignature("the signature is not of this message")
        known = (track.signing_key, proof)
        if known in self._proofs:
            return
        try:
            key.verify(proof[end:-1], to_sign(leaves))
        except WrongSignature:
            raise InvalidSignature("the signature is not that of the key") from None
        if len(self._proofs) >= PROOFS_MAX:
            self._proofs.clear()
        self._proofs.add(known)

    def _remember(self, head: bytes, track: Track) -> None:
        if len(self._tracks) >= TRACKS_MAX:
            self._tracks.clear()
        self._tracks[head] = track

    def _found(self, head: bytes, mode: Mode, now_ms: int) -> Track:
        """What the head says, if all that is in order."""
        raw, ticket = unpack(head, 2)
        metadata = read(raw, Metadata, "message")
        place = metadata.place
        if metadata.suite != self._opener.suite or metadata.mode is not mode:
            raise InvalidSignature("the message is of another suite or mode")
        if place not in self._places:
            raise WrongDestination("the message was sent to another place")
        session = self._opener.session(ticket, metadata.session, place, now_ms)
        ends = (session.source, session.destination)
        if metadata.role is not (Role.REQUEST if ticket else Role.REPLY):
            raise InvalidSignature("the message goes in the other direction")
        if (metadata.source, metadata.destination) != (ends if ticket else ends[::-1]):
            raise InvalidSignature("the message names another source than its ticket")
        if place.kind == "reply" and ticket:
            self._check_answer(metadata, session)
        whose = self._places[place]
        source = identify(framed("source", metadata.source))[:SOURCE_BYTES]
        stream = framed("stream", *whose, metadata.source, metadata.instance, *place)
        return Track(raw, metadata, session, source + identify(stream))

    def _check_answer(self, metadata: Metadata, session: Session) -> None:
        """Who answers under a ticket of its own belongs to the group that was asked."""
        asked = self._opener.own(metadata.answers)
        if asked is None or not asked.group:
            raise WrongDestination("the message answers nothing that was asked of a group")
        certificate = session.certificate
        if certificate is None or not certificate.belongs_to(asked.destination):
            raise WrongDestination("who answers does not belong to the group that was asked")


def claimed(data: bytes) -> str:
    """Who a message says it is from, for a log: nothing is checked."""
    try:
        if data.startswith(MAGIC):
            head = data[_HEAD_AT : _HEAD_AT + int.from_bytes(data[len(MAGIC) : _HEAD_AT], "big")]
        else:
            marks = _marks(data)
            if marks is None:
                return ""
            head = _bytes(data[marks[0] + len(HEAD) : marks[1]])
        return read(unpack(head, 2)[0], Metadata, "message").source[:255]
    except InvalidSignature:
        return ""


def _marks(data: bytes) -> tuple[int, int] | None:
    """Where the marks of head and security begin; None for a message without them."""
    if not data.endswith(END):
        return None
    begin = data.rfind(SECURITY)
    at = data.rfind(HEAD, 0, begin) if begin > 0 else -1
    return None if at < 0 else (at, begin)


def _bytes(text: bytes) -> bytes:
    """Of base64; there is one text for any bytes. Raises: InvalidSignature."""
    try:
        data = a2b_base64(text, strict_mode=True) if text else b""
    except NotBase64:
        raise InvalidSignature("the security of the message is no base64") from None
    if b2a_base64(data, newline=False) != text:
        raise InvalidSignature("the security of the message is no plain base64")
    return data


def _opened(track: Track, times: bytes, sealed: bytes, beside: bytes) -> bytes:
    """Raises: InvalidSignature."""
    try:
        return track.cipher.decrypt(NONCE_BEGIN + times[:8], sealed, beside)
    except (InvalidTag, ValueError):
        raise InvalidSignature("the message was altered, or another key sealed it") from None


def _proof_at(data: bytes) -> int:
    """Where the proof begins that `data` ends with. Raises: InvalidSignature."""
    count = data[-1] if data else 0
    if not 0 < count <= LEAVES_MAX:
        raise InvalidSignature("the message has no proof of its source")
    return len(data) - 1 - SIGNATURE_BYTES - count * LEAF_BYTES


def _verifying(public: bytes) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(public)
    except ValueError:
        raise InvalidCertificate("the certificate's signing key is none") from None


def _body(form: Form, text: bytes) -> bytes:
    """What was put into an envelope for the way; the bytes are authentic."""
    if form is Form.ENVELOPE:
        return text + b"}"
    try:
        inner = _from_json(text[len(VERSION) :])
        return inner.encode() if form is Form.TEXT else a2b_base64(inner, strict_mode=bool(inner))
    except (msgspec.MsgspecError, ValueError):
        raise InvalidSignature("the source made an envelope that is none") from None


_from_json = msgspec.json.Decoder(str).decode
