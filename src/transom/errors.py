# SPDX-License-Identifier: Apache-2.0
"""The one tree of errors, and the catalogue that says how each looks from outside.

TransomError
├── CallerError             who asked erred; asking the same again fails the same way
│   ├── BadRequest, Unauthorized, Forbidden, NotFound, MethodNotAllowed, NotAcceptable, Conflict
│   ├── TooLarge, HeadersTooLarge, UnsupportedMedia, RequestTimeout, TooManyRequests
│   └── ConfigError         a configuration that cannot be used (never leaves the process)
├── PeerError               another system erred or did not answer
│   ├── Unavailable         try again after a while
│   └── MessagingError
│       ├── MessagingTimeout, MessageUndeliverable, MessageDeliveryFailure
│       ├── RemoteError, NoSuchMethod, UnsupportedVersion, VersionCapError
│       ├── InvalidTarget, InvalidTransportURL, InvalidEnvelope
│       └── SecurityError   what a message's security says does not hold, or keys are missing
│           ├── InvalidSignature, InvalidCertificate, WrongDestination, Downgraded
│           └── Expired, KeyUnavailable
└── InternalError           we erred
    ├── StorageUnavailable  the store refuses writes (poisoned, read-only, closed)
    │   ├── StorageDamaged  the file needs a person
    │   └── OutcomeUnknown  the write may or may not have been kept
    └── StorageFull         no space for the write; reads go on

Errors know no HTTP. Doors look the class up in `CATALOGUE` (nearest class in the order of
inheritance). `text` is for the user and says what to do; `detail` is for the log only.
"""

from dataclasses import dataclass


class TransomError(Exception):
    """Root. `text`: one sentence for the user; `detail`: for the log, may name internals."""

    def __init__(self, text: str = "", *, detail: str = "") -> None:
        super().__init__(text or self.default_text())
        self.detail = detail

    @classmethod
    def default_text(cls) -> str:
        return catalogued(cls).text

    @property
    def text(self) -> str:
        return str(self.args[0])


class CallerError(TransomError):
    """Who asked erred."""


class BadRequest(CallerError):
    """The request's form or content cannot be used."""


class Unauthorized(CallerError):
    """No valid token came with the request."""


class Forbidden(CallerError):
    """The token is valid, its roles do not allow this."""


class NotFound(CallerError):
    """No such thing for this caller: it never existed, is gone, or belongs to somebody else."""


class MethodNotAllowed(CallerError):
    """The path exists, the method does not. `allowed`: the methods that do."""

    def __init__(self, text: str = "", *, allowed: tuple[str, ...] = (), detail: str = "") -> None:
        super().__init__(text, detail=detail)
        self.allowed = allowed


class NotAcceptable(CallerError):
    """The answer would be JSON, and the caller accepts no JSON."""


class Conflict(CallerError):
    """The state changed under the caller, or does not admit the change."""


class TooLarge(CallerError):
    """The body is over its limit."""


class UnsupportedMedia(CallerError):
    """The content type is not one that this call takes."""


class HeadersTooLarge(CallerError):
    """The request line or headers are over their limit."""


class RequestTimeout(CallerError):
    """The request did not arrive whole within its time."""


class TooManyRequests(CallerError):
    """The caller's rate is over its limit. `retry_after_s`: when to ask again."""

    def __init__(self, text: str = "", *, retry_after_s: int = 1, detail: str = "") -> None:
        super().__init__(text, detail=detail)
        self.retry_after_s = retry_after_s


class ConfigError(CallerError):
    """The configuration cannot be used; the text names the key, its place and what to do."""


class PeerError(TransomError):
    """Another system erred or did not answer."""


class Unavailable(PeerError):
    """A system that is needed did not answer in time. `retry_after_s`: when to ask again."""

    def __init__(self, text: str = "", *, retry_after_s: int = 1, detail: str = "") -> None:
        super().__init__(text, detail=detail)
        self.retry_after_s = retry_after_s


class MessagingError(PeerError):
    """Root of what the bus raises."""


class MessagingTimeout(MessagingError):
    """No answer within the timeout; the call may or may not have been carried out."""


class MessageUndeliverable(MessagingError):
    """Nobody takes messages at the address; nothing was carried out."""


class MessageDeliveryFailure(MessagingError):
    """The message could not be handed over within the allowed tries."""


class RemoteError(MessagingError):
    """The endpoint raised.

    `exc_type`: class name there; `value`: its text; `traceback`: lines, for the log.
    """

    def __init__(self, exc_type: str, value: str, traceback: tuple[str, ...] = ()) -> None:
        super().__init__(f"{exc_type}: {value}", detail="".join(traceback))
        self.exc_type = exc_type
        self.value = value
        self.traceback = traceback


class NoSuchMethod(MessagingError):
    """The endpoint that serves this namespace and version has no such method."""


class UnsupportedVersion(MessagingError):
    """No endpoint serves this namespace and version."""


class VersionCapError(MessagingError):
    """The call needs a newer version than the client may send."""


class InvalidTarget(MessagingError):
    """The target lacks what the operation needs, or has what it must not have."""


class InvalidTransportURL(MessagingError):
    """The bus address cannot be used."""


class InvalidEnvelope(MessagingError):
    """The bytes are no message, or of a version that is not spoken here."""


class SecurityError(MessagingError):
    """What the security of a message says does not hold."""


class InvalidSignature(SecurityError):
    """The bytes are not those that the claimed source sent, or nobody can tell."""


class InvalidCertificate(SecurityError):
    """No trusted authority vouches for the party now, or not for this."""


class WrongDestination(SecurityError):
    """A message, ticket or answer that was made for another place."""


class Downgraded(SecurityError):
    """Less security than the receiver requires."""


class Expired(SecurityError):
    """Too old, from the future, or under a ticket that does not hold now."""


class KeyUnavailable(SecurityError):
    """The key that is needed cannot be had; `lasting`: asking again will not help."""

    def __init__(self, text: str = "", *, lasting: bool = False, detail: str = "") -> None:
        super().__init__(text, detail=detail)
        self.lasting = lasting


class InternalError(TransomError):
    """We erred."""


class StorageUnavailable(InternalError):
    """The store refuses writes; reads go on."""

    retry_after_s = 5


class OutcomeUnknown(StorageUnavailable):
    """The store did not say whether the write is committed. Whoever asked must be told so."""


class StorageDamaged(StorageUnavailable):
    """A database file is not what it was; the text says what to do with it."""


class StorageFull(InternalError):
    """No space is left for the write; reads go on."""


@dataclass(frozen=True, slots=True)
class Entry:
    """How an error looks from outside.

    `code` is stable; `status` is HTTP's; `text` is the default for the user.
    """

    code: str
    status: int
    retryable: bool
    text: str


CATALOGUE: dict[type[TransomError], Entry] = {
    BadRequest: Entry("bad-request", 400, False, "The request could not be understood."),
    Unauthorized: Entry(
        "unauthorized", 401, False, "The request needs a valid token in X-Auth-Token."
    ),
    Forbidden: Entry("forbidden", 403, False, "Your roles do not allow this."),
    NotFound: Entry("not-found", 404, False, "No such resource."),
    MethodNotAllowed: Entry("method-not-allowed", 405, False, "This path has no such method."),
    NotAcceptable: Entry("not-acceptable", 406, False, "Answers here are application/json."),
    RequestTimeout: Entry("request-timeout", 408, True, "The request did not arrive in time."),
    Conflict: Entry("conflict", 409, False, "The resource has changed or does not admit this."),
    TooLarge: Entry("too-large", 413, False, "The body is larger than allowed."),
    UnsupportedMedia: Entry("unsupported-media", 415, False, "Send application/json."),
    TooManyRequests: Entry("too-many-requests", 429, True, "Too many requests; slow down."),
    HeadersTooLarge: Entry("headers-too-large", 431, False, "The headers are larger than allowed."),
    CallerError: Entry("bad-request", 400, False, "The request could not be carried out."),
    Unavailable: Entry("unavailable", 503, True, "A needed service did not answer; try again."),
    MessagingTimeout: Entry("messaging-timeout", 503, True, "No answer in time; try again."),
    SecurityError: Entry(
        "message-security", 503, False, "A message's security does not hold; it was refused."
    ),
    KeyUnavailable: Entry(
        "key-unavailable", 503, True, "A key of the bus cannot be had now; try again."
    ),
    MessagingError: Entry("messaging", 503, True, "The bus could not carry the request out."),
    PeerError: Entry("unavailable", 503, True, "A needed service failed; try again."),
    StorageUnavailable: Entry(
        "storage-unavailable", 503, True, "The store takes no writes now; reads go on."
    ),
    OutcomeUnknown: Entry(
        "outcome-unknown",
        503,
        False,
        "The write may or may not have been kept; look before you repeat it.",
    ),
    StorageFull: Entry(
        "storage-full", 507, True, "No space is left for writes; free some and try again."
    ),
    InternalError: Entry("internal", 500, False, "Something went wrong here; it has been logged."),
    TransomError: Entry("internal", 500, False, "Something went wrong here; it has been logged."),
}


def catalogued(error: type[TransomError]) -> Entry:
    """The entry of the class, or of its nearest ancestor that has one."""
    for cls in error.__mro__:
        entry = CATALOGUE.get(cls)
        if entry is not None:
            return entry
    raise AssertionError(f"{error.__name__} is not in the tree")
