# SPDX-License-Identifier: Apache-2.0
"""IP addresses and networks: what holds, what is false of two versions, what fails."""

import ipaddress
import random

import pytest

from transom.policy.datalog.builtins import BUILTINS, BuiltinError
from transom.policy.datalog.builtins.addresses import SET_CHARACTERS_MOST
from transom.policy.datalog.values import encoded_row

ORDERS = ("ips_lt", "ips_lteq", "ips_gt", "ips_gteq")


def called(name: str, *arguments: object) -> object:
    return BUILTINS[name].function(*encoded_row(arguments))


def refused(name: str, *arguments: object) -> str:
    with pytest.raises(BuiltinError, match=f"^{name}: ") as caught:
        called(name, *arguments)
    return str(caught.value).removeprefix(f"{name}: ")


@pytest.mark.parametrize(
    ("x", "y", "sign"),
    [
        ("10.0.0.9", "10.0.0.10", -1),
        ("255.255.255.255", "0.0.0.0", 1),
        ("::1", "0:0:0:0:0:0:0:1", 0),
        ("FE80::1", "fe80::1", 0),
        ("::ffff:192.0.2.1", "::ffff:c000:201", 0),
        ("fe80::2", "fe80::1", 1),
    ],
)
def test_addresses_are_ordered_by_their_number(x: str, y: str, sign: int) -> None:
    found = [called(name, x, y) for name in ORDERS]
    assert found == [sign < 0, sign <= 0, sign > 0, sign >= 0]
    assert called("ips_equal", x, y) is (sign == 0)


def test_two_versions_are_not_equal_and_one_holds_nothing_of_the_other() -> None:
    assert called("ips_equal", "192.0.2.1", "::ffff:192.0.2.1") is False
    assert called("networks_equal", "0.0.0.0/0", "::/0") is False
    assert called("networks_overlap", "0.0.0.0/0", "::/0") is False
    assert called("ip_in_network", "::1", "0.0.0.0/0") is False
    assert called("ip_in_network", "10.0.0.1", "::/0") is False
    assert called("ip_in_any", "fd00::1", "10.0.0.0/8, fd00::/8") is True
    assert called("network_in_any", "fd00::/9", "10.0.0.0/8, fd00::/8") is True


@pytest.mark.parametrize("name", ORDERS)
def test_two_versions_have_no_order(name: str) -> None:
    said = 'cannot order "10.0.0.1" and "::1", of IPv4 and IPv6'
    assert refused(name, "10.0.0.1", "::1") == said


@pytest.mark.parametrize(
    ("x", "y", "overlap"),
    [
        ("10.0.0.0/8", "10.1.0.0/16", True),
        ("10.1.0.0/16", "10.0.0.0/8", True),
        ("10.0.0.0/24", "10.0.1.0/24", False),
        ("10.0.0.7", "10.0.0.0/29", True),
        ("fd00::/8", "fd12::/16", True),
        ("10.0.0.0/255.0.0.0", "10.9.9.9/32", True),
    ],
)
def test_overlap_is_the_same_both_ways(x: str, y: str, overlap: bool) -> None:
    assert called("networks_overlap", x, y) is overlap
    assert called("networks_overlap", y, x) is overlap


def test_networks_and_addresses_agree_with_the_standard_library() -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    for _ in range(300):
        address = ipaddress.IPv4Address(chance.getrandbits(32) & 0x0F0000FF)
        outer = ipaddress.IPv4Network(
            (chance.getrandbits(32) & 0x0F0000FF, chance.randint(0, 32)), strict=False
        )
        inner = ipaddress.IPv4Network(
            (chance.getrandbits(32) & 0x0F0000FF, chance.randint(0, 32)), strict=False
        )
        assert called("ip_in_network", str(address), str(outer)) is (address in outer)
        assert called("ip_in_any", str(address), f"{outer},{inner}") is (
            address in outer or address in inner
        )
        assert called("networks_overlap", str(inner), str(outer)) is inner.overlaps(outer)
        assert called("network_in_any", str(inner), str(outer)) is inner.subnet_of(outer)


def test_a_set_of_networks_may_be_empty() -> None:
    assert called("ip_in_any", "10.0.0.1", "") is False
    assert called("ip_in_any", "10.0.0.1", "  ") is False
    assert called("network_in_any", "10.0.0.0/8", "") is False
    assert called("network_in_any", "10.0.0.0/8", "10.0.0.0/9") is False


def test_a_network_says_its_prefix_and_its_version() -> None:
    assert called("prefix_length", "10.0.0.0/255.255.0.0") == 16
    assert called("prefix_length", "10.0.0.1") == 32
    assert called("prefix_length", "::/0") == 0
    assert called("ip_version", "10.0.0.1") == 4
    assert called("ip_version", "fd00::/8") == 6


@pytest.mark.parametrize(
    "given",
    ["", "host", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.1 ", "fe80::1%e", "1" * 200, 5, None],
)
def test_what_is_no_address_is_said(given: object) -> None:
    for name in (*ORDERS, "ips_equal"):
        assert refused(name, given, "10.0.0.1").endswith(" is no IP address")
        assert refused(name, "10.0.0.1", given).endswith(" is no IP address")
    assert refused("ip_in_network", given, "10.0.0.0/8").endswith(" is no IP address")
    assert refused("ip_in_any", given, "10.0.0.0/8").endswith(" is no IP address")


@pytest.mark.parametrize(
    "given", ["", "net", "10.0.0.0/33", "10.0.0.0/", "fe80::%1/64", "1" * 200, 5, None]
)
def test_what_is_no_network_is_said(given: object) -> None:
    for name in ("networks_equal", "networks_overlap"):
        assert refused(name, given, "10.0.0.0/8").endswith(
            " is no network; one is written 10.0.0.0/8"
        )
        assert refused(name, "10.0.0.0/8", given).endswith(
            " is no network; one is written 10.0.0.0/8"
        )
    assert refused("ip_in_network", "10.0.0.1", given).endswith(
        " is no network; one is written 10.0.0.0/8"
    )
    assert refused("network_in_any", given, "").endswith(
        " is no network; one is written 10.0.0.0/8"
    )
    assert refused("prefix_length", given).endswith(" is no network; one is written 10.0.0.0/8")
    assert refused("ip_version", given).endswith(" is no network; one is written 10.0.0.0/8")


def test_the_one_of_a_set_that_is_no_network_is_said() -> None:
    for name, inner in (("ip_in_any", "10.0.0.1"), ("network_in_any", "10.0.0.0/9")):
        assert (
            refused(name, inner, "10.0.0.0/8, nets")
            == '" nets" is no network; one is written 10.0.0.0/8'
        )
        assert refused(name, inner, "10.0.0.0/8,") == '"" is no network; one is written 10.0.0.0/8'
        assert "is no network" in refused(name, inner, "1" * 200)
        assert refused(name, inner, 5) == "5 is no text of networks"
        long = "10.0.0.0/8," * (SET_CHARACTERS_MOST // 10)
        assert f"the most are {SET_CHARACTERS_MOST}" in refused(name, inner, long)
