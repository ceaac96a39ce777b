# SPDX-License-Identifier: Apache-2.0
"""The address of a bus: `driver[+x]://[user[:password]@]host[:port][,more]/vhost?option=value`.

Invariants:
1. `TransportURL.parse(str(url)) == url`, credentials included.
2. No password shows in a `repr` or in the text of an error.
3. Two addresses are equal if they lead to the same place: the query is not compared.

Credentials belong to one host each. `zmq:///run/folder` has no hosts and the vhost `run/folder`;
`memory://name` has one host, the bus's name. Source: oslo.messaging's TransportURL.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Self
from urllib.parse import parse_qsl, quote, unquote

from transom.errors import InvalidTransportURL
from transom.runtime.secrets import Secret

_FORM = re.compile(
    r"(?P<scheme>[a-zA-Z][a-zA-Z0-9.+_-]*)://(?P<hosts>[^/?#]*)"
    r"(?:/(?P<vhost>[^?#]*))?(?:\?(?P<query>[^#]*))?",
    re.ASCII,
)
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f]")
_EXAMPLE = "write it like rabbit://user:password@host:5672/vhost"


@dataclass(frozen=True, slots=True)
class TransportHost:
    """One host. `hostname` is bare (an IPv6 address without brackets); `port` 0 is the default."""

    hostname: str = ""
    port: int = 0
    username: str | None = None
    password: Secret | None = None

    def __str__(self) -> str:
        """As it stands in an address, the password in clear."""
        return self._text(None if self.password is None else self.password.reveal())

    def _text(self, password: str | None) -> str:
        credentials = ""
        if self.username is not None:
            credentials = quote(self.username, safe="")
            if password is not None:
                credentials += ":" + quote(password, safe="*")
            credentials += "@"
        hostname = f"[{self.hostname}]" if ":" in self.hostname else self.hostname
        return f"{credentials}{hostname}" + (f":{self.port}" if self.port else "")

    def masked(self) -> str:
        """As `str`, the password as stars."""
        return self._text(None if self.password is None else "***")


@dataclass(frozen=True, slots=True, repr=False)
class TransportURL:
    """A parsed address. `query`: option -> value; a repeated option's values are joined by ","."""

    scheme: str
    hosts: tuple[TransportHost, ...] = ()
    vhost: str = ""
    query: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def driver(self) -> str:
        """The name that drivers are registered under: the scheme up to a `+`."""
        return self.scheme.partition("+")[0]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads an address. Raises: InvalidTransportURL, which says what to write instead."""
        if _UNPRINTABLE.search(text):
            raise InvalidTransportURL(
                "the bus address has a blank or control character; percent-encode it"
            )
        form = _FORM.fullmatch(text)
        if form is None:
            what = "a bare '#'; percent-encode it as %23" if "#" in text else "not of its form"
            raise InvalidTransportURL(f"the bus address has {what}; {_EXAMPLE}")
        hosts = form["hosts"]
        return cls(
            scheme=form["scheme"].lower(),
            hosts=tuple(_host(part) for part in hosts.split(",")) if hosts else (),
            vhost=_decoded(form["vhost"] or "", "vhost"),
            query=MappingProxyType(_query(form["query"] or "")),
        )

    def __str__(self) -> str:
        """The address whole, passwords in clear: for handing on, never for a log."""
        return self._text(",".join(str(host) for host in self.hosts))

    def __repr__(self) -> str:
        hosts = ",".join(host.masked() for host in self.hosts)
        masked = TransportURL(self.scheme, vhost=self.vhost)._text(hosts)
        return f"TransportURL({masked!r})"

    def _text(self, hosts: str) -> str:
        query = "&".join(
            f"{quote(name, safe='')}={quote(value, safe=',/:')}"
            for name, value in self.query.items()
        )
        return f"{self.scheme}://{hosts}/{quote(self.vhost, safe='/')}" + (query and f"?{query}")


def _host(text: str) -> TransportHost:
    credentials, at, place = text.rpartition("@")
    username: str | None = None
    password: Secret | None = None
    if at:
        name, colon, secret = credentials.partition(":")
        username = _decoded(name, "user name")
        password = Secret(_decoded(secret, "password")) if colon else None
    hostname, port = _place(place)
    if not (at or hostname or port):
        raise InvalidTransportURL("the bus address has an empty host between its commas")
    return TransportHost(hostname, port, username, password)


def _place(text: str) -> tuple[str, int]:
    if text.startswith("["):
        hostname, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or ":" not in hostname:
            raise InvalidTransportURL(
                "the bus address has a broken IPv6 host; write it like [::1]:5672"
            )
        digits = rest[1:]
    else:
        hostname, _, digits = text.partition(":")
    if any(sign in hostname for sign in "[]%@"):
        raise InvalidTransportURL("the bus address has a host with a sign that no host has")
    # The digits are not shown: they may be the rest of a password with a bare slash in it.
    if digits and not (digits.isascii() and digits.isdigit() and 0 < int(digits[:9]) < 65536):
        raise InvalidTransportURL(
            "the bus address has a port that is no number from 1 to 65535; "
            "an IPv6 host goes into brackets, a '/' in a password is written %2F"
        )
    return hostname, int(digits or 0)


def _query(text: str) -> dict[str, str]:
    options: dict[str, str] = {}
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict")
    except ValueError as error:
        raise InvalidTransportURL("the bus address has a query that is not UTF-8") from error
    for name, value in pairs:
        options[name] = f"{options[name]},{value}" if name in options else value
    return options


def _decoded(text: str, what: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError as error:
        raise InvalidTransportURL(
            f"the bus address has a {what} that is not UTF-8 when decoded"
        ) from error
