# SPDX-License-Identifier: Apache-2.0
"""Bodies of requests and answers. No answer has a key in it that is not public or sealed."""

from datetime import UTC, datetime
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from transom.keys.model import KEY_BYTES, Group, Party
from transom.messaging.security.names import NAME, PATTERN
from transom.messaging.security.tickets import REQUEST_BYTES_MAX
from transom.runtime.http.route import PlainError
from transom.runtime.http.versions import Version

BODY_BYTES_MAX = 2 * REQUEST_BYTES_MAX
GROUP_BYTES_MAX = 65_536
NOT_FOUND = {404: PlainError}
CONFLICT = {409: PlainError}
_PARTY = r"^[A-Za-z0-9_][A-Za-z0-9_:@-]*\.[A-Za-z0-9_.:@-]+$"
Name = Annotated[str, Meta(pattern=f"^{NAME.pattern}$")]
PartyName = Annotated[
    str,
    Meta(extra_json_schema={"pattern": _PARTY, "maxLength": 255, "examples": ["scheduler.host1"]}),
]
Pattern = Annotated[str, Meta(extra_json_schema={"pattern": f"^({PATTERN.pattern})$"})]


class SetKey(Struct, forbid_unknown_fields=True):
    """`key`: base64 of 32 random bytes. `at_once`: the one before is worth nothing any more."""

    key: Annotated[
        bytes,
        Meta(
            min_length=KEY_BYTES,
            max_length=KEY_BYTES,
            extra_json_schema={"pattern": "^[A-Za-z0-9+/]{43}=$"},
        ),
    ]
    at_once: bool = False


class KeySet(Struct):
    """`generation` is another one only if the key is."""

    name: str
    generation: int


class Generation(Struct):
    """One long-term key. `used_at`: when the party first signed with it; `until`: its end."""

    generation: int
    created_at: str
    used_at: str | None
    until: str | None


class ShownParty(Struct):
    """`keys`: the newest first. What they are is shown to nobody."""

    name: str
    created_at: str
    keys: list[Generation]


class Link(Struct):
    rel: str
    href: str


class Parties(Struct):
    """By name. `links` has the next page, where there may be one."""

    keys: list[ShownParty]
    links: list[Link]


class SetGroup(Struct, forbid_unknown_fields=True):
    """`members`: names of parties, or beginnings of them and `*`."""

    members: list[Pattern]


class ShownGroup(Struct):
    name: str
    created_at: str | UnsetType = UNSET
    members: list[str] = []


class Groups(Struct):
    groups: list[ShownGroup]
    links: list[Link]


class Asked(Struct, forbid_unknown_fields=True):
    """`request`: base64 of what the party has signed."""

    request: Annotated[bytes, Meta(max_length=REQUEST_BYTES_MAX)]


class Granted(Struct):
    """`grant`: base64 of what only that party can open."""

    grant: bytes


class Certificates(Struct):
    """Base64 of each."""

    certificates: list[bytes]


class KnownAuthorities(Struct):
    """Public keys, 32 bytes each in base64; the first one signs now."""

    authorities: list[bytes]


class OneVersion(Struct):
    version: Version


def party(found: Party) -> ShownParty:
    keys = [
        Generation(
            key.generation, moment(key.created_ms), _moment(key.used_ms), _moment(key.until_ms)
        )
        for key in found.keys
    ]
    return ShownParty(found.name, moment(found.created_ms), keys)


def group(found: Group) -> ShownGroup:
    return ShownGroup(found.name, moment(found.created_ms), list(found.members))


def moment(at_ms: int) -> str:
    """ISO 8601 in UTC, with whole seconds."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _moment(at_ms: int | None) -> str | None:
    return None if at_ms is None else moment(at_ms)
