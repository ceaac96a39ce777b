# SPDX-License-Identifier: Apache-2.0
import contextlib
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from transom.errors import BadRequest
from transom.runtime.http.route import Mount
from transom.runtime.http.router import Router, decoded

TEMPLATES = [
    "",
    "/v2",
    "/v2/queues",
    "/v2/queues/{queue}",
    "/v2/queues/{queue}/messages/{message}",
    "/v2/queues/special/x",
    "/v2/{kind}/special/y",
]
MOUNT = Mount("/queue", [])
ROOT = Mount("", [])


def router() -> Router:
    made = Router([MOUNT, ROOT], lambda mount: f"no such path in {mount.prefix!r}")
    for template in TEMPLATES:
        made.add(MOUNT, template, {"GET": template}, "no such method")
    return made


def find(path: str):
    """(template, fields, path below the mount) or what refuses."""
    request = SimpleNamespace(raw_path=path.encode(), fields={}, url_path=None)
    methods = router().find(request)
    if "GET" not in methods:
        return methods["GET"]
    return methods["GET"], request.fields, request.url_path


@pytest.mark.parametrize(
    ("path", "template", "fields"),
    [
        ("/queue", "", {}),
        ("/queue/", "", {}),
        ("/queue/v2/queues", "/v2/queues", {}),
        ("/queue/v2/queues/", "/v2/queues", {}),
        ("/queue/v2/queues/a", "/v2/queues/{queue}", {"queue": "a"}),
        ("/queue/v2/queues/special", "/v2/queues/{queue}", {"queue": "special"}),
        ("/queue/v2/queues/special/x", "/v2/queues/special/x", {}),
        ("/queue/v2/queues/special/y", "/v2/{kind}/special/y", {"kind": "queues"}),
        ("/queue/v2/queues/a%2Fb", "/v2/queues/{queue}", {"queue": "a/b"}),
        ("/queue/v2/queues/%2e%2e", "/v2/queues/{queue}", {"queue": ".."}),
        ("/queue/v2/queues/a+b", "/v2/queues/{queue}", {"queue": "a+b"}),
        ("/queue/v2/queues/a%20b", "/v2/queues/{queue}", {"queue": "a b"}),
        ("/queue/v2/queues/a%252Fb", "/v2/queues/{queue}", {"queue": "a%2Fb"}),
        ("/queue/v2/queues/%C3%A9", "/v2/queues/{queue}", {"queue": "é"}),
        ("/queue/v2/queues/.*", "/v2/queues/{queue}", {"queue": ".*"}),
        (
            "/queue/v2/queues/q/messages/special",
            "/v2/queues/{queue}/messages/{message}",
            {"queue": "q", "message": "special"},
        ),
    ],
)
def test_a_path_finds_its_template_and_fields(path, template, fields):
    assert find(path) == (template, fields, path.removeprefix("/queue"))


@pytest.mark.parametrize(
    ("path", "mount"),
    [
        ("/", ""),
        ("/queues", ""),
        ("//queue/v2", ""),
        ("/queue//", "/queue"),
        ("/queue/v2//", "/queue"),
        ("/queue/v2/queues//messages/m", "/queue"),
        ("/queue/V2", "/queue"),
        ("/queue/v2%2Fqueues", "/queue"),
        ("/queue/v2/queues/a/messages", "/queue"),
        ("/queue/v2/queues/a/b/c/d/e", "/queue"),
        ("/%71ueue/v2", ""),
    ],
)
def test_a_path_that_is_not_there_is_refused_by_its_mount(path, mount):
    assert find(path) == f"no such path in {mount!r}"


@pytest.mark.parametrize("name", ["%ff", "%C3", "%ED%A0%80", "%zz", "%", "%4", "a%2", "%+1", "% 1"])
def test_a_field_that_does_not_decode_is_a_bad_request(name):
    with pytest.raises(BadRequest):
        find(f"/queue/v2/queues/{name}")


@given(st.text(min_size=1).filter(lambda text: text.encode("utf-8", "replace").decode() == text))
@example("/")
@example("%2F")
@example("\x00")
def test_what_is_quoted_comes_back(name):
    sent = quote(name, safe="")
    assert decoded(sent) == name
    assert find(f"/queue/v2/queues/{sent}")[1] == {"queue": name}


@given(st.text(alphabet="%0123456789abcdefABCDEFxyz", max_size=12))
def test_decoding_gives_text_or_a_bad_request_and_nothing_else(segment):
    try:
        value = decoded(segment)
    except BadRequest:
        return
    assert decoded(quote(value, safe="")) == value


@given(st.lists(st.text(alphabet="/queusv2%{}.", max_size=6), max_size=8))
def test_no_path_makes_the_router_fail(pieces):
    with contextlib.suppress(BadRequest):
        find("/" + "/".join(pieces))


@pytest.mark.parametrize(
    "template", ["/v2/queues/{other}", "/a/{x}/{x}", "/a/x{y}", "/a/{x y}", "/a/{}", "/a/b}"]
)
def test_a_template_that_clashes_or_is_malformed_is_an_error(template):
    with pytest.raises(ValueError):
        router().add(MOUNT, template, {}, "")
