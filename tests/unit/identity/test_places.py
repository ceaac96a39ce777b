# SPDX-License-Identifier: Apache-2.0
"""Each kind of place that a token may be for, and the files that lead there, one example each."""

from dataclasses import replace

import pytest

from transom.identity.contract import CatalogueService
from transom.identity.logic.catalogue import Catalogue
from transom.identity.logic.clouds import Access, is_current, merged, openrc
from transom.identity.logic.token import TEXT_LENGTH_MAX, InvalidToken, TokenCodec
from transom.identity.model import SYSTEM, Claims, Method, Place, ScopeKind

CODEC = TokenCodec({1: b"k" * 32})
PROJECT = Place(ScopeKind.PROJECT, "bb" * 16)
ONE = Claims("aa" * 16, PROJECT, (Method.PASSWORD,), "cc" * 16, "cc" * 16, 1, 2, 1, 1)
ACCESS = Access("http://127.0.0.1:1/identity", "admin", "admin", "default", "RegionOne")


@pytest.mark.parametrize(
    "claims",
    [
        ONE,
        replace(ONE, place=None),
        replace(ONE, place=Place(ScopeKind.DOMAIN, "default")),
        replace(ONE, place=SYSTEM),
        replace(ONE, chain_id="dd" * 16, methods=(Method.PASSWORD, Method.TOKEN)),
        replace(ONE, credential_id="ee" * 16, methods=(Method.APPLICATION_CREDENTIAL,)),
        replace(ONE, place=None, credential_id="ee" * 16),
    ],
)
def test_a_token_is_for_the_place_that_it_was_made_for(claims: Claims) -> None:
    assert CODEC.open(CODEC.seal(claims, b"0" * 12)) == claims


@pytest.mark.parametrize("text", ["a" * (TEXT_LENGTH_MAX + 1), "é" * 40])
def test_what_no_token_can_look_like_is_refused_unread(text: str) -> None:
    with pytest.raises(InvalidToken):
        CODEC.open(text)


def test_the_files_of_a_cloud_name_its_user_and_nothing_is_left_to_the_shell() -> None:
    lines = openrc(ACCESS, "it's $(secret)")
    assert "export OS_USERNAME=admin\n" in lines
    assert "export OS_PASSWORD='it'\"'\"'s $(secret)'\n" in lines
    text = merged("", ACCESS, "p")
    assert is_current(text, ACCESS, "p")
    assert not is_current(text, ACCESS, "q")
    assert not is_current("", ACCESS, "p")


def test_the_catalogue_has_one_region_in_which_all_its_endpoints_are() -> None:
    catalogue = Catalogue([CatalogueService("messaging", "queue", "http://h/queue")], "RegionOne")
    (region,) = catalogue.regions()
    assert {endpoint["region_id"] for endpoint in catalogue.endpoints()} == {region["id"]}
