import subprocess

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from transom.errors import ConfigError
from transom.identity.contract import CatalogueService
from transom.identity.logic.catalogue import Catalogue
from transom.identity.logic.clouds import Access, is_current, merged, openrc, password_in

ACCESS = Access("http://127.0.0.1:1/identity", "admin", "admin", "default", "RegionOne")
HOSTILE = "$(touch x) `id` '\"; \u202e\x1b[31m \\ #: {}"


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1))
def test_a_password_comes_out_of_the_file_as_it_went_in(password: str) -> None:
    text = merged("", ACCESS, password)
    assert password_in(text) == password
    assert is_current(text, ACCESS, password)


def test_other_clouds_stay() -> None:
    mine = "clouds:\n  mine:\n    auth: {auth_url: https://example.org}\n    verify: false\n"
    document = yaml.safe_load(merged(mine, ACCESS, "p"))
    assert document["clouds"]["mine"] == {
        "auth": {"auth_url": "https://example.org"},
        "verify": False,
    }
    assert document["clouds"]["transom"]["auth"]["password"] == "p"


@pytest.mark.parametrize("text", ["", "{}", "clouds:\n", "clouds: {transom: 3}", "clouds: {a: b}"])
def test_a_file_without_our_password_has_none(text: str) -> None:
    assert password_in(text) == ""
    assert password_in(merged(text, ACCESS, "p")) == "p"


@pytest.mark.parametrize("text", ["clouds: [", "[a]", "clouds: [a]", "clouds: word", "\x01"])
def test_a_file_that_cannot_be_read_says_what_to_do(text: str) -> None:
    with pytest.raises(ConfigError, match="delete it"):
        merged(text, ACCESS, "p")


@settings(max_examples=5, deadline=None)
@given(st.sampled_from([HOSTILE, "plain", "a b", "'"]))
def test_a_shell_reads_openrc_as_it_was_meant(password: str) -> None:
    script = openrc(ACCESS, password) + 'printf %s "$OS_PASSWORD"'
    assert subprocess.run(["sh", "-c", script], capture_output=True).stdout.decode() == password


def test_ids_in_the_catalogue_are_the_same_each_time_and_unique() -> None:
    services = [
        CatalogueService("identity", "i", "http://a"),
        CatalogueService("x", "y", "http://b"),
    ]
    first, again = Catalogue(services, "R"), Catalogue(services, "R")
    assert first.of_token() == again.of_token()
    ids = [endpoint["id"] for endpoint in first.endpoints()]
    assert len(set(ids)) == len(ids) == 6
    assert {service["id"] for service in first.services()} == {
        endpoint["service_id"] for endpoint in first.endpoints()
    }
