# SPDX-License-Identifier: Apache-2.0
"""Which addresses a webhook may lead to.

Nobody outside may have us send requests to where only we can: our own host, the networks behind it,
and the metadata services of clouds.

Invariants:
1. Only global unicast addresses are admitted, and what the operator's networks hold. Of IPv6 these
   are what IANA has given out for it, `2000::/3`, and no other space that happens to be unassigned.
2. An IPv4 address is the same in any form of IPv6 that carries one (mapped, 6to4, NAT64, Teredo);
   forms that carry one elsewhere, or that nobody uses any more, are admitted never.
"""

from collections.abc import Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NAT64 = IPv6Network("64:ff9b::/96")
"""The last 32 bits are an address of IPv4."""
_GLOBAL = IPv6Network("2000::/3")
_REFUSED = (
    ip_network("192.0.0.0/24"),  # of protocols; a cloud's metadata service is in it
    ip_network("192.88.99.0/24"),  # 6to4 relays
    ip_network("168.63.129.16/32"),  # a cloud's own, in global space
    ip_network("3fff::/20"),  # of documents
)


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Raises: ValueError for what is no network."""
    return tuple(ip_network(text.strip(), strict=False) for text in texts if text.strip())


def literal(host: str) -> Address | None:
    """The address that a URL's host is, if it is none to look up; in any form resolvers take."""
    text = host.strip("[]").partition("%")[0]
    try:
        return ip_address(text)
    except ValueError:
        return _old_form(text)


def _old_form(text: str) -> IPv4Address | None:
    """`127.1`, `0x7f000001`, `017700000001`: as old C libraries read addresses."""
    parts = text.rstrip(".").split(".")
    if not 1 <= len(parts) <= 4:
        return None
    try:
        numbers = [_number(part) for part in parts]
    except ValueError:
        return None
    *head, last = numbers
    if any(number > 255 for number in head) or last >= 256 ** (5 - len(parts)):
        return None
    value = last
    for at, number in enumerate(head):
        value += number << (24 - 8 * at)
    return IPv4Address(value)


def _number(text: str) -> int:
    if not text.isascii() or not text[:1].isdigit():
        raise ValueError(text)
    if text[:2].lower() == "0x":
        return int(text[2:], 16)
    return int(text, 8) if len(text) > 1 and text[0] == "0" else int(text)


def admitted(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether a connection to it may be opened."""
    inner = _inner(address)
    return any(one in network for network in allowed for one in {address, inner}) or (
        _is_public(address) and _is_public(inner)
    )


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _GLOBAL:
        return address in _NAT64 or address.ipv4_mapped is not None  # what is within counts
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_unspecified
        and not any(address in network for network in _REFUSED)
    )


def _inner(address: Address) -> Address:
    """The IPv4 address within, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address.teredo is not None:
        return address.teredo[1]
    return address.ipv4_mapped or address.sixtofour or address
