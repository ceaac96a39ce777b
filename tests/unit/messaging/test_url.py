"""Addresses of buses: oslo's rules, round trips, and no password in sight."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from transom.errors import InvalidTransportURL
from transom.messaging.url import TransportHost, TransportURL
from transom.runtime.secrets import Secret


@pytest.mark.parametrize(
    ("text", "driver", "hosts", "vhost", "query"),
    [
        ("memory://bus", "memory", [TransportHost("bus")], "", {}),
        ("rabbit://", "rabbit", [], "", {}),
        ("zmq:///run/folder", "zmq", [], "run/folder", {}),
        ("zmq:////run/folder", "zmq", [], "/run/folder", {}),
        ("kombu+memory://", "kombu", [], "", {}),
        ("rabbit://h/", "rabbit", [TransportHost("h")], "", {}),
        ("rabbit://h//", "rabbit", [TransportHost("h")], "/", {}),
        ("rabbit://h/%2F", "rabbit", [TransportHost("h")], "/", {}),
        (
            "rabbit://bob:s%40cret@h:5672/v%20h",
            "rabbit",
            [TransportHost("h", 5672, "bob", Secret("s@cret"))],
            "v h",
            {},
        ),
        ("rabbit://a@b:p@h", "rabbit", [TransportHost("h", 0, "a@b", Secret("p"))], "", {}),
        ("rabbit://bob@h", "rabbit", [TransportHost("h", 0, "bob")], "", {}),
        ("rabbit://bob:@h", "rabbit", [TransportHost("h", 0, "bob", Secret(""))], "", {}),
        ("rabbit://u:a:b@h", "rabbit", [TransportHost("h", 0, "u", Secret("a:b"))], "", {}),
        (
            "rabbit://u:p@[::1]:5671,v:q@h2,h3:1/x",
            "rabbit",
            [
                TransportHost("::1", 5671, "u", Secret("p")),
                TransportHost("h2", 0, "v", Secret("q")),
                TransportHost("h3", 1),
            ],
            "x",
            {},
        ),
        (
            "rabbit://h/?ssl=1&x=a&x=b&e=",
            "rabbit",
            [TransportHost("h")],
            "",
            {"ssl": "1", "x": "a,b", "e": ""},
        ),
        ("rabbit://h?ssl=1", "rabbit", [TransportHost("h")], "", {"ssl": "1"}),
    ],
)
def test_address_is_read_by_oslos_rules(text, driver, hosts, vhost, query) -> None:
    url = TransportURL.parse(text)
    assert (url.driver, list(url.hosts), url.vhost, dict(url.query)) == (
        driver,
        hosts,
        vhost,
        query,
    )
    assert TransportURL.parse(str(url)) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rabbit",
        "rabbit:/h",
        "://h",
        "rabbit://h:port",
        "rabbit://h:0",
        "rabbit://h:65536",
        "rabbit://h:99999999999999999999",
        "rabbit://h:５",
        "rabbit://::1",
        "rabbit://[::1",
        "rabbit://[::1]x",
        "rabbit://[h]",
        "rabbit://a,,b",
        "rabbit://h%20x",
        "rabbit://h/#x",
        "rabbit://u:p#x@h",
        "rabbit://h h",
        "rabbit://h/\n",
        "rabbit://%ff@h",
        "rabbit://h/%ff",
        "rabbit://h/?a=%ff",
    ],
)
def test_bad_address_says_what_is_wrong(text) -> None:
    with pytest.raises(InvalidTransportURL, match="the bus address has"):
        TransportURL.parse(text)


@pytest.mark.parametrize("text", ["rabbit://u:hidden/x@h", "rabbit://u:hid#den@h"])
def test_error_does_not_show_a_password(text) -> None:
    with pytest.raises(InvalidTransportURL) as caught:
        TransportURL.parse(text)
    assert "hid" not in str(caught.value)


def test_repr_does_not_show_a_password() -> None:
    url = TransportURL.parse("rabbit://u:hidden@h:1,v:hidden@i/x?ssl=1")
    assert repr(url) == "TransportURL('rabbit://u:***@h:1,v:***@i/x')"
    assert "hidden" not in repr(url.hosts)
    assert "hidden" in str(url)


def test_query_does_not_make_addresses_differ() -> None:
    one, other = TransportURL.parse("rabbit://h/?a=1"), TransportURL.parse("rabbit://h/?a=2")
    assert one == other
    assert hash(one) == hash(other)
    assert one != TransportURL.parse("rabbit://h/x?a=1")


texts = st.text(st.characters(codec="utf-8"), max_size=20)
hosts = st.builds(
    TransportHost,
    hostname=st.from_regex(r"[a-z0-9.-]{1,20}|[0-9a-f]{0,4}::[0-9a-f]{1,4}", fullmatch=True),
    port=st.integers(0, 65535),
)
hosts_with_user = st.builds(
    TransportHost,
    hostname=st.just("h"),
    port=st.integers(0, 65535),
    username=texts,
    password=st.none() | texts.map(Secret),
)


@given(
    st.sampled_from(["rabbit", "zmq", "a+b"]),
    st.lists(hosts | hosts_with_user, max_size=4),
    texts,
    st.dictionaries(texts.filter(bool), texts, max_size=4),
)
def test_any_address_survives_the_round_trip(scheme, hosts, vhost, query) -> None:
    url = TransportURL(scheme, tuple(hosts), vhost, query)
    again = TransportURL.parse(str(url))
    assert again == url
    assert dict(again.query) == query


@given(st.text(max_size=60))
@example(":")
@example(",")
def test_any_text_is_read_or_refused(text) -> None:
    try:
        url = TransportURL.parse("rabbit://" + text)
    except InvalidTransportURL:
        return
    assert TransportURL.parse(str(url)) == url
