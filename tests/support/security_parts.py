"""Sessions and openers of a few parties, without a bus; imports only what is pure."""

from base64 import b64decode, b64encode
from typing import NamedTuple

from transom.messaging.security.certificates import Certificate, Identity, check, issue
from transom.messaging.security.direct import make_direct
from transom.messaging.security.message import (
    END,
    HEAD,
    LEAF_BYTES,
    LENGTH,
    MAGIC,
    SECURITY,
    SIGNATURE_BYTES,
    Metadata,
    Mode,
    Way,
    Writer,
)
from transom.messaging.security.opening import GROUP_KINDS, Opener
from transom.messaging.security.sealing import new_signing_key, pack, read, unpack
from transom.messaging.security.sessions import (
    PUBLIC_KEY,
    SHARED_KEY,
    Place,
    Role,
    Session,
)
from transom.messaging.security.tickets import Ticket, issue_ticket

from virtual import seeded_randomness

NOW_MS = 1_767_225_600_000
HOUR_MS = 3_600_000
SKEW_MS = 60_000
PAIR = Place("server", "work", "h1")
GROUP = Place("topic", "work")
BACK = Place("reply", "reply_api")
INSTANCE = bytes(range(16))


class Taken(NamedTuple):
    """A message in its parts, to be put together in another way. `text`: of a signed one."""

    mode: Mode
    metadata: bytes
    ticket: bytes
    times: bytes
    sealed: bytes
    proof: bytes
    text: bytes

    def of(self) -> Metadata:
        return read(self.metadata, Metadata, "message")

    def put(self) -> bytes:
        head = pack(self.metadata, self.ticket)
        security = self.times + self.sealed + self.proof
        if self.mode is Mode.ENCRYPT:
            return MAGIC + LENGTH.pack(len(head)) + head + security
        return self.text + HEAD + b64encode(head) + SECURITY + b64encode(security) + END


def take(data: bytes) -> Taken:
    """Of a message that somebody has sealed."""
    if data.startswith(MAGIC):
        (size,) = LENGTH.unpack(data[4:8])
        mode, head, text, security = Mode.ENCRYPT, data[8 : 8 + size], b"", data[8 + size :]
    else:
        at, begin = data.rindex(HEAD), data.rindex(SECURITY)
        mode, head, text = Mode.SIGN, b64decode(data[at + len(HEAD) : begin]), data[:at]
        security = b64decode(data[begin + len(SECURITY) : -len(END)])
    metadata, ticket = unpack(head, 2)
    end = len(security)
    if read(metadata, Metadata, "message").kind in GROUP_KINDS:
        end -= 1 + SIGNATURE_BYTES + LEAF_BYTES * security[-1]
    return Taken(mode, metadata, ticket, security[:24], security[24:end], security[end:], text)


def sealed(way: Way, body: bytes, mode: Mode = Mode.SIGN, *, counter: int = 1) -> bytes:
    return Writer(way, mode).encode(body, counter=counter, sent_ms=NOW_MS, deadline_ms=0)


class Parts:
    """`api.a` sends to `work.h1`, which also belongs to the group `work`; `work.h2` does too."""

    def __init__(self, suite: str = SHARED_KEY) -> None:
        self.suite = suite
        self.random = seeded_randomness(11)
        self.authority = new_signing_key(self.random)
        self.authorities = {self.authority.public_key().public_bytes_raw()}
        self.long_term = self.random(32)
        self.group_key = self.random(32)
        names = ("api.a", "work.h1", "work.h2", "other.o")
        self.identities = {name: Identity.make(self.random) for name in names}
        self.certificates = {name: self.certify(name) for name in names}
        self.api = self.opener("api.a")
        self.work = self.opener("work.h1", self.long_term)

    def certify(self, name: str, *groups: str, ends_ms: int = NOW_MS + 24 * HOUR_MS) -> bytes:
        identity = self.identities[name]
        certificate = Certificate(
            name, groups, identity.signing_key, identity.agreement_key,
            NOW_MS - HOUR_MS, ends_ms,
        )  # fmt: skip
        return issue(certificate, self.authority)

    def certificate(self, name: str) -> Certificate:
        return check(self.certificates[name], self.authorities, now_ms=NOW_MS)

    def opener(self, name: str, *long_term_keys: bytes) -> Opener:
        opener = Opener(self.suite, name, self.identities[name], long_term_keys, skew_ms=SKEW_MS)
        opener.authorities = self.authorities
        opener.add_group_key("work", 1, self.group_key, NOW_MS + HOUR_MS)
        return opener

    def session(self, place: Place, *, source: str = "api.a") -> Session:
        """As the source has it."""
        group = place.kind in GROUP_KINDS
        destination = place.name if group else "work.h1"
        if self.suite == PUBLIC_KEY:
            names = ("work.h1", "work.h2") if group else ("work.h1",)
            return self.direct(source, destination, names, group=group)
        key = self.random(32)
        issued = Ticket(
            source, destination, NOW_MS, HOUR_MS, key, self.certificates[source],
        )  # fmt: skip
        sealing = self.group_key if group else self.long_term
        sealed = issue_ticket(issued, sealing, self.random, generation=1 if group else 0)
        return Session(
            SHARED_KEY, source, destination, key, group=group, ticket=sealed, issued_ms=NOW_MS,
            lifetime_ms=HOUR_MS,
        )  # fmt: skip

    def direct(
        self, source: str, destination: str, receivers: tuple[str, ...], *, group: bool = False,
        lifetime_ms: int = HOUR_MS,
    ) -> Session:  # fmt: skip
        return make_direct(
            self.suite, source, self.identities[source], self.certificates[source], destination,
            [self.certificate(name) for name in receivers], group=group, now_ms=NOW_MS,
            lifetime_ms=lifetime_ms, random=self.random,
        )  # fmt: skip

    def way(self, session: Session, place: Place, *, role: Role = Role.REQUEST) -> Way:
        signing = self.identities[session.source].signing if session.group else None
        return Way(session, role, place, INSTANCE, signing, "reply_api")
