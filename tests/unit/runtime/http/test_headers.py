# SPDX-License-Identifier: Apache-2.0
import pytest

from transom.runtime.http.headers import IDENTITY_HEADERS, Headers, accepts


@pytest.mark.parametrize("name", sorted(IDENTITY_HEADERS))
def test_a_claimed_identity_cannot_be_read(name):
    for spelling in (name, name.replace("-", "_")):
        headers = Headers([(spelling.encode(), b"admin"), (b"client-id", b"c")])
        assert dict(headers) == {"client-id": "c"}
        assert headers.get(spelling) is None


def test_what_keystonemiddleware_sets_is_among_the_stripped():
    assert {
        "x-identity-status", "x-project-id", "x-roles", "x-user-id", "x-user-domain-name",
        "x-domain-id", "x-service-roles", "x-service-identity-status", "x-tenant-id", "x-role",
        "x-user", "x-tenant", "x-service-catalog", "x-is-admin-project", "openstack-system-scope",
    } <= IDENTITY_HEADERS  # fmt: skip


def test_tokens_and_other_headers_are_left():
    raw = [(b"x-auth-token", b"t"), (b"x-subject-token", b"s"), (b"x-trace", b"1")]
    assert dict(Headers(raw)) == {"x-auth-token": "t", "x-subject-token": "s", "x-trace": "1"}


def test_a_header_sent_twice_has_both_values():
    headers = Headers([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")])
    assert (headers["a"], len(headers)) == ("1,3", 2)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, True),
        (b"", True),
        (b"*/*", True),
        (b"application/json", True),
        (b"application/*;q=0.1", True),
        (b"text/html, application/json;q=0.5", True),
        (b"APPLICATION/JSON", True),
        (b"text/html", False),
        (b"application/xml", False),
        (b"application/json;q=0", False),
        (b"*/*, application/json;q=0", False),
        (b"application/json;q=nonsense", True),
        (b"*/*;q=0", False),
    ],
)
def test_accept_admits_json_or_not(header, expected):
    assert accepts(header, ["application/json"]) is expected
