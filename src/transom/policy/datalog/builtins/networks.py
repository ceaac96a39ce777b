# SPDX-License-Identifier: Apache-2.0
"""IP addresses and networks, compared.

Invariant: of IPv4 and IPv6 neither equals, holds nor overlaps the other: these literals are false,
so that `not ip_in_network(ip, "10.0.0.0/8")` finds an IPv6 address. They have no order: those fail.
"""

from typing import Final

from transom.policy.datalog.builtins.addresses import (
    Network,
    address,
    network,
    networks,
)
from transom.policy.datalog.builtins.arguments import BuiltinError, shown
from transom.policy.datalog.core import Builtin
from transom.policy.datalog.values import Value


def ips_equal(x: Value, y: Value) -> bool:
    """ips_equal(x, y): x and y are the same IP address, however written.

    Fails: x or y is no IP address.
    Example: ips_equal("::1", "0:0:0:0:0:0:0:1")
    """
    return address("ips_equal", x) == address("ips_equal", y)


def ips_lt(x: Value, y: Value) -> bool:
    """ips_lt(x, y): the IP address x is before y.

    Fails: x or y is no IP address; one is of IPv4, the other of IPv6.
    Example: ips_lt("192.0.2.9", "192.0.2.10")
    """
    left, right = _ordered("ips_lt", x, y)
    return left < right


def ips_lteq(x: Value, y: Value) -> bool:
    """ips_lteq(x, y): the IP address x is before y, or the same.

    Fails: x or y is no IP address; one is of IPv4, the other of IPv6.
    Example: ips_lteq("192.0.2.1", "192.0.2.1")
    """
    left, right = _ordered("ips_lteq", x, y)
    return left <= right


def ips_gt(x: Value, y: Value) -> bool:
    """ips_gt(x, y): the IP address x is behind y.

    Fails: x or y is no IP address; one is of IPv4, the other of IPv6.
    Example: ips_gt("192.0.2.10", "192.0.2.9")
    """
    left, right = _ordered("ips_gt", x, y)
    return left > right


def ips_gteq(x: Value, y: Value) -> bool:
    """ips_gteq(x, y): the IP address x is behind y, or the same.

    Fails: x or y is no IP address; one is of IPv4, the other of IPv6.
    Example: ips_gteq("192.0.2.2", "192.0.2.1")
    """
    left, right = _ordered("ips_gteq", x, y)
    return left >= right


def ip_version(x: Value) -> Value:
    """ip_version(x, y): y is 4 or 6, the version of the IP address or network x.

    Fails: x is neither.
    Example: ip_version("fd00::/8", 6)
    """
    return network("ip_version", x).version


def prefix_length(x: Value) -> Value:
    """prefix_length(x, y): y is how many bits the prefix of the network x has.

    Fails: x is no network.
    Example: prefix_length("10.0.0.0/8", 8)
    """
    return network("prefix_length", x).prefix


def networks_equal(x: Value, y: Value) -> bool:
    """networks_equal(x, y): x and y are the same network, however written.

    Fails: x or y is no network.
    Example: networks_equal("192.0.2.0/24", "192.0.2.112/24")
    """
    return network("networks_equal", x) == network("networks_equal", y)


def networks_overlap(x: Value, y: Value) -> bool:
    """networks_overlap(x, y): some address is in both networks.

    Fails: x or y is no network.
    Example: networks_overlap("192.0.2.0/24", "192.0.2.0/23")
    """
    first, second = network("networks_overlap", x), network("networks_overlap", y)
    return _inside(first, second) or _inside(second, first)


def ip_in_network(x: Value, y: Value) -> bool:
    """ip_in_network(x, y): the IP address x is in the network y.

    Fails: x is no IP address; y is no network.
    Example: ip_in_network("192.168.0.1", "192.168.0.0/24")
    """
    version, number = address("ip_in_network", x)
    outer = network("ip_in_network", y)
    return version == outer[0] and number & outer[2] == outer[1]


def ip_in_any(x: Value, y: Value) -> bool:
    """ip_in_any(x, networks): the IP address x is in one of the networks, a text with commas.

    Fails: x is no IP address; one of the networks is none.
    Example: ip_in_any("192.168.7.1", "10.0.0.0/8, 192.168.0.0/16")
    """
    version, number = address("ip_in_any", x)
    for outer in networks("ip_in_any", y):  # a generator takes twice as long
        if version == outer[0] and number & outer[2] == outer[1]:
            return True
    return False


def network_in_any(x: Value, y: Value) -> bool:
    """network_in_any(x, networks): the network x is wholly in one of them, a text with commas.

    Fails: x is no network; one of the networks is none.
    Example: network_in_any("10.1.0.0/16", "10.0.0.0/8, 192.168.0.0/16")
    """
    found = network("network_in_any", x)
    return any(
        found.prefix >= outer.prefix and _inside(found, outer)
        for outer in networks("network_in_any", y)
    )


def _inside(found: Network, outer: Network) -> bool:
    """Whether its first address is in the other."""
    return found.version == outer.version and found.number & outer.mask == outer.number


def _ordered(name: str, x: Value, y: Value) -> tuple[int, int]:
    version, left = address(name, x)
    other, right = address(name, y)
    if version != other:
        raise BuiltinError(
            f"{name}: cannot order {shown(x)} and {shown(y)}, of IPv{version} and IPv{other}"
        )
    return left, right


NETWORKS: Final = (
    Builtin("ips_equal", 2, 0, ips_equal),
    Builtin("ips_lt", 2, 0, ips_lt),
    Builtin("ips_lteq", 2, 0, ips_lteq),
    Builtin("ips_gt", 2, 0, ips_gt),
    Builtin("ips_gteq", 2, 0, ips_gteq),
    Builtin("ip_version", 1, 1, ip_version),
    Builtin("prefix_length", 1, 1, prefix_length),
    Builtin("networks_equal", 2, 0, networks_equal),
    Builtin("networks_overlap", 2, 0, networks_overlap),
    Builtin("ip_in_network", 2, 0, ip_in_network),
    Builtin("ip_in_any", 2, 0, ip_in_any),
    Builtin("network_in_any", 2, 0, network_in_any),
)
