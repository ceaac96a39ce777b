# SPDX-License-Identifier: Apache-2.0
"""What can be subscribed: subscribers' addresses, options, lives.

Invariants:
1. What is stored is what is honoured: a known option has a value that it can have. Unknown ones
   are kept and shown, and mean nothing.
2. A secret for signing is never among the options that are stored or shown; `_signature: true`
   says that there is one.

Source: Zaqar API v2, "Create subscription".
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from transom.queue.logic import addresses
from transom.queue.logic.retries import KEY as RETRY_POLICY
from transom.queue.logic.retries import check_policy
from transom.queue.model import InvalidSubscription, OutOfRange

SCHEMES = ("http", "https", "mailto", "trust+http", "trust+https")
TRUST = "trust+"
POST_DATA, POST_HEADERS, TRUST_ID = "post_data", "post_headers", "trust_id"
FROM, SUBJECT, SIGNATURE = "from", "subject", "_signature"
ENCODED_WORD = "=?"
"""What begins letters in disguise in the head of a mail (RFC 2047), where a line may end."""
PLACEHOLDER = '"$zaqar_message$"'
LEAST_TTL_S = 60
MOST_TTL_S = 10_000_000_000
"""317 years: more than any moment that is written in four digits."""
SUBSCRIBER_CHARACTERS_MAX = 2048
SECRET_CHARACTERS = (16, 256)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_ADDRESS = re.compile(r"[^\s@,;:<>()\[\]\\\"]+@[^\s@,;:<>()\[\]\\\"]+")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
OURS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer",
     "expect", "keep-alive", "proxy-connection", "x-auth-token"}
)  # fmt: skip
"""Headers that a subscription cannot set: they frame the request, or are a trust's."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a subscription's notices go. `url`: without `trust+`; `address`: of mail."""

    scheme: str
    url: str = ""
    address: str = ""
    subject: str = ""

    @property
    def by_trust(self) -> bool:
        return self.scheme.startswith(TRUST)

    @property
    def is_mail(self) -> bool:
        return self.scheme == "mailto"


def destination(subscriber: str) -> Destination:
    """Raises: InvalidSubscription."""
    if len(subscriber) > SUBSCRIBER_CHARACTERS_MAX or _UNPRINTABLE.search(subscriber):
        raise InvalidSubscription(
            f"A subscriber is a URL of at most {SUBSCRIBER_CHARACTERS_MAX} printable characters."
        )
    scheme = subscriber.partition(":")[0].lower()
    if scheme not in SCHEMES:
        raise InvalidSubscription(
            f"The subscriber is a URL of one of these schemes: {', '.join(SCHEMES)}."
        )
    if scheme == "mailto":
        return _mail(subscriber)
    url = subscriber[len(TRUST) :] if scheme.startswith(TRUST) else subscriber
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host:
        raise InvalidSubscription("The subscriber's URL names no host, or a port that is none.")
    return Destination(scheme, url)


def _mail(subscriber: str) -> Destination:
    path, _, query = subscriber[len("mailto:") :].partition("?")
    address = unquote(path)
    if _ADDRESS.fullmatch(address) is None or _UNPRINTABLE.search(address):
        raise InvalidSubscription("The subscriber mailto: names one address, like a@example.org.")
    fields = dict(field.partition("=")[::2] for field in query.split("&"))
    subject = next((unquote(fields[key]) for key in fields if key.lower() == "subject"), "")
    if _UNPRINTABLE.search(subject) or ENCODED_WORD in subject:
        raise InvalidSubscription("The subject of a mail is one line of plain text, without =?.")
    return Destination("mailto", address=address, subject=subject)


def check_reachable(where: Destination, allowed: Sequence[addresses.Network]) -> None:
    """Refuses an address that is not to be reached, where the URL holds one; names are looked up,
    and their addresses checked, at each connection.

    Raises: InvalidSubscription.
    """
    if where.is_mail:
        return
    address = addresses.literal(urlsplit(where.url).hostname or "")
    if address is not None and not addresses.admitted(address, allowed):
        raise InvalidSubscription(
            f"Nothing is sent to {address}: it is no public address. "
            "The operator can admit its network in [queue] webhook_allow."
        )


def check_ttl(ttl_s: int) -> int:
    """Raises: OutOfRange."""
    if not LEAST_TTL_S <= ttl_s <= MOST_TTL_S:
        raise OutOfRange(
            f"The ttl of a subscription is {ttl_s}; it can be from {LEAST_TTL_S} to {MOST_TTL_S}."
        )
    return ttl_s


def check_options(options: Mapping[str, Any]) -> None:
    """Raises: InvalidSubscription, InvalidAttribute."""
    for name in (POST_DATA, FROM, SUBJECT, TRUST_ID):
        if not isinstance(options.get(name, ""), str):
            raise InvalidSubscription(f"The option {name} is a text.")
    for name in (FROM, SUBJECT, TRUST_ID):
        if _UNPRINTABLE.search(options.get(name, "")):
            raise InvalidSubscription(f"The option {name} is one line of printable characters.")
    for name in (FROM, SUBJECT):
        if ENCODED_WORD in options.get(name, ""):
            raise InvalidSubscription(f"The option {name} is plain text, without =?.")
    _check_headers(options.get(POST_HEADERS))
    _check_signature(options.get(SIGNATURE))
    check_policy(options.get(RETRY_POLICY))


def _check_headers(headers: Any) -> None:
    if headers is None:
        return
    if not isinstance(headers, Mapping):
        raise InvalidSubscription(f"The option {POST_HEADERS} is an object of header -> text.")
    for name, value in headers.items():
        if _HEADER_NAME.fullmatch(name) is None or name.lower() in OURS:
            raise InvalidSubscription(f"The option {POST_HEADERS} cannot set the header {name!r}.")
        if not isinstance(value, str) or _UNPRINTABLE.search(value):
            raise InvalidSubscription(f"The header {name} of {POST_HEADERS} is one line of text.")


def _check_signature(value: Any) -> None:
    if value is None or isinstance(value, bool):
        return
    least, most = SECRET_CHARACTERS
    secret = value.get("secret") if isinstance(value, Mapping) and len(value) == 1 else None
    if not isinstance(secret, str) or not least <= len(secret) <= most:
        raise InvalidSubscription(
            f"The option {SIGNATURE} is true, or an object with a `secret` "
            f"of {least} to {most} characters."
        )


@dataclass(frozen=True, slots=True)
class Signing:
    """What the options say of signing. `secret`: given there, or "" ."""

    wanted: bool
    secret: str = ""


def split_signing(options: Mapping[str, Any]) -> tuple[dict[str, Any], Signing]:
    """The options as they are stored, and what they say of signing."""
    kept = dict(options)
    value = kept.pop(SIGNATURE, None)
    if not value:
        return kept, Signing(wanted=False)
    kept[SIGNATURE] = True
    return kept, Signing(wanted=True, secret="" if value is True else value["secret"])


def shown_subscriber(subscriber: str) -> str:
    """What everybody of the project, and its operator, may see of it: nothing that opens a door."""
    where = destination(subscriber)
    if where.is_mail:
        return "mailto"
    return f"{where.scheme}://{urlsplit(where.url).hostname}"
