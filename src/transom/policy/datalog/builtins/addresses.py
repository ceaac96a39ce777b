# SPDX-License-Identifier: Apache-2.0
"""IP addresses and networks, read from text into numbers; what is dear to read is remembered.

Invariants:
1. Addresses of IPv4 and IPv6 are different kinds, an IPv4 address mapped into IPv6 is one of IPv6.
2. Bits of a network's address behind its prefix do not matter; without a prefix it is one address.
3. What is remembered is bounded in number, and no text that is remembered is long.
"""

from functools import lru_cache
from ipaddress import IPv6Address, ip_network
from typing import Final, NamedTuple

from transom.policy.datalog.builtins.arguments import BuiltinError, shown
from transom.policy.datalog.values import Value

ADDRESSES_KEPT: Final = 16_384
NETWORKS_KEPT: Final = 4096
SETS_KEPT: Final = 256
CHARACTERS_MOST: Final = 96
"""Of one address or network; the longest has 79, with a mask written out."""
SET_CHARACTERS_MOST: Final = 10_000
OCTETS: Final = {str(octet): octet for octet in range(256)}


Address = tuple[int, int]
"""Its version, 4 or 6, and its number. A plain tuple, since it is made anew for each row."""


class Network(NamedTuple):
    """`mask` has a 1 for each bit of the prefix, `number` 0 in all the others."""

    version: int
    number: int
    mask: int
    prefix: int


def address(name: str, value: Value) -> Address:
    """Raises: BuiltinError."""
    if type(value) is str and len(value) <= CHARACTERS_MOST:
        found = _ipv6(value) if ":" in value else _ipv4(value)
        if found is not None:
            return found
    raise BuiltinError(f"{name}: {shown(value)} is no IP address")


def network(name: str, value: Value) -> Network:
    """Raises: BuiltinError."""
    if type(value) is str and len(value) <= CHARACTERS_MOST:
        found = _network(value)
        if found is not None:
            return found
    raise BuiltinError(f"{name}: {shown(value)} is no network; one is written 10.0.0.0/8")


def networks(name: str, value: Value) -> tuple[Network, ...]:
    """A set as a text: `10.0.0.0/8, fd00::/8`; empty for an empty text. Raises: BuiltinError."""
    if type(value) is not str:
        raise BuiltinError(f"{name}: {shown(value)} is no text of networks")
    if len(value) > SET_CHARACTERS_MOST:
        raise BuiltinError(
            f"{name}: a text of networks has {len(value)} characters; the most are "
            f"{SET_CHARACTERS_MOST}"
        )
    found = _networks(value)
    if isinstance(found, str):
        raise BuiltinError(f"{name}: {shown(found)} is no network; one is written 10.0.0.0/8")
    return found


def _ipv4(text: str) -> Address | None:
    """Not remembered: this is as fast."""
    try:
        first, second, third, fourth = text.split(".")
        number = OCTETS[first] << 24 | OCTETS[second] << 16 | OCTETS[third] << 8 | OCTETS[fourth]
    except (KeyError, ValueError):
        return None
    return 4, number


@lru_cache(ADDRESSES_KEPT)
def _ipv6(text: str) -> Address | None:
    if "%" in text:  # a zone of one machine, which means nothing to others
        return None
    try:
        return 6, int(IPv6Address(text))
    except ValueError:
        return None


@lru_cache(NETWORKS_KEPT)
def _network(text: str) -> Network | None:
    if "%" in text:
        return None
    try:
        found = ip_network(text, strict=False)
    except ValueError:
        return None
    return Network(found.version, int(found.network_address), int(found.netmask), found.prefixlen)


@lru_cache(SETS_KEPT)
def _networks(text: str) -> tuple[Network, ...] | str:
    """All of them, or the first that is none."""
    found = []
    for part in text.split(",") if text.strip(" ") else ():
        one = _network(part.strip(" ")) if len(part) <= CHARACTERS_MOST else None
        if one is None:
            return part
        found.append(one)
    return tuple(found)
