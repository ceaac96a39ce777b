# SPDX-License-Identifier: Apache-2.0
"""Who may try a password now: slowed down by whom is tried, and by where it comes from.

A user's failures slow down the tries at that user from everywhere; an address's failures those at
everybody from there, after more of them, since many people may share it.

Invariants:
1. A success clears the user's failures, not the address's: an account of one's own buys no
   guesses at others.
2. Who signed in from an address within `KNOWN_S` is not held up by what others try from it.
3. No wait is longer than `USER_WAIT_MOST_S`, and nothing is locked: that only ever delays the
   right password. What is remembered is bounded.
"""

from collections import OrderedDict
from ipaddress import IPv4Address, ip_address, ip_network

from transom.identity.logic.backoff import KEYS_MAX, Backoff

USER_FREE = 5
USER_WAIT_MOST_S = 60.0
ADDRESS_FREE = 50
ADDRESS_WAIT_MOST_S = 15.0
KNOWN_S = 86_400.0
_HOST_BITS = 64


class Guesses:
    """`user`: one text a user, however named. `client`: their address."""

    def __init__(self, keys_max: int = KEYS_MAX) -> None:
        self._keys_max = keys_max
        self._users = Backoff(USER_FREE, USER_WAIT_MOST_S, keys_max)
        self._addresses = Backoff(ADDRESS_FREE, ADDRESS_WAIT_MOST_S, keys_max)
        self._known: OrderedDict[tuple[str, str], float] = OrderedDict()

    def wait_s(self, user: str, client: str, now_s: float) -> float:
        """Seconds to wait; 0.0 if a guess may be made now."""
        wait_s = self._users.wait_s(user, now_s)
        network = network_of(client)
        known_s = self._known.get((user, network))
        if known_s is not None and now_s - known_s < KNOWN_S:
            return wait_s
        return max(wait_s, self._addresses.wait_s(network, now_s))

    def begin(self, user: str, client: str, now_s: float) -> None:
        """A guess is let through."""
        self._users.begin(user, now_s)
        self._addresses.begin(network_of(client), now_s)

    def failed(self, user: str, client: str, now_s: float) -> None:
        self._users.failed(user, now_s)
        self._addresses.failed(network_of(client), now_s)

    def succeeded(self, user: str, client: str, now_s: float) -> None:
        self._users.succeeded(user)
        place = (user, network_of(client))
        self._known[place] = now_s
        self._known.move_to_end(place)
        if len(self._known) > self._keys_max:
            self._known.popitem(last=False)

    def __len__(self) -> int:
        return len(self._users) + len(self._addresses) + len(self._known)


def network_of(client: str) -> str:
    """What one caller can choose addresses from: all of loopback, an IPv6 network of 64 bits."""
    try:
        address = ip_address(client)
    except ValueError:
        return client
    if address.is_loopback:
        return "loopback"
    if isinstance(address, IPv4Address):
        return str(address)
    return str(ip_network((int(address), _HOST_BITS), strict=False))
