# SPDX-License-Identifier: Apache-2.0
"""What a caller sees of a door, over a real socket."""

import asyncio
import logging
import re

import pytest

from transom.runtime.telemetry.correlation import current

from support.door import PLANTED, TOKEN, small_door
from support.http import ask, connect, exchange, hang_up, read_reply, request_bytes, serve

REQUEST_ID = re.compile(r"req-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
JSON = {"content-type": "application/json"}


async def test_a_request_reaches_its_handler_as_it_was_meant():
    async with serve(small_door()) as url:
        reply = await ask(
            url,
            "PUT",
            "/queue/v2/show/a%2Fb?limit=5&marker=&x=1&x=%C3%A9",
            {"client-id": "c1", **JSON},
            body=b'{"ttl": 60, "body": {"deep": [1, null]}}',
            token=TOKEN,
        )
    shown = reply.json()
    assert reply.status == 200
    assert shown["path"] == {"name": "a/b"}
    assert shown["url_path"] == "/v2/show/a%2Fb"
    assert shown["query"] == {"limit": "5", "marker": "", "x": "é"}
    assert shown["headers"]["client-id"] == "c1"
    assert shown["body"] == {"ttl": 60, "body": {"deep": [1, None]}}
    assert shown["context"]["project_id"] == "p-one"
    assert shown["context"]["request_id"] == reply.headers["x-openstack-request-id"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/healthz", 200),
        ("GET", "/queue/v2/open", 200),
        ("GET", "/queue/v2/show/a", 401),
        ("GET", "/nowhere", 404),
        ("GET", "/queue/nowhere", 404),
        ("DELETE", "/queue/v2/open", 405),
        ("BREW", "/queue/v2/open", 400),
        ("TRACE", "/queue/v2/open", 405),
        ("GET", "/queue/v2/show/%ff", 400),
        ("GET", "/queue/v2/open?a=%ff", 400),
        ("GET", "/queue/v2/open?a=\xff", 400),
        ("GET", "*", 404),
    ],
)
async def test_every_answer_has_a_request_id_of_its_own(method, path, status):
    forged = {"x-openstack-request-id": "req-forged"}
    async with serve(small_door()) as url:
        replies = [await ask(url, method, path, forged) for _ in range(2)]
    ids = [reply.headers["x-openstack-request-id"] for reply in replies]
    assert [reply.status for reply in replies] == [status, status]
    assert all(REQUEST_ID.fullmatch(request_id) for request_id in ids)
    assert ids[0] != ids[1]


async def test_a_claimed_identity_does_not_reach_the_handler():
    claims = {
        "X-Project-Id": "p-two",
        "X_Project_Id": "p-two",
        "X-Roles": "admin",
        "X-User-Id": "root",
        "X-Service-Roles": "service",
        "X-Identity-Status": "Confirmed",
    }
    async with serve(small_door()) as url:
        shown = (await ask(url, "GET", "/queue/v2/show/a", claims, token=TOKEN)).json()
        public = (await ask(url, "GET", "/queue/v2/open", claims)).json()
    for seen in (shown, public):
        assert not {"p-two", "admin", "root", "service"} & set(seen["headers"].values())
    assert shown["context"]["project_id"] == "p-one"
    assert shown["context"]["roles"] == ["member"]
    assert public["context"]["project_id"] == ""


@pytest.mark.parametrize("headers", [{}, {"x-auth-token": ""}, {"x-auth-token": "wrong"},
                                     {"x-auth-token": "\xff\xfe"}])  # fmt: skip
async def test_without_a_valid_token_the_answer_says_where_to_get_one(headers):
    async with serve(small_door()) as url:
        reply = await ask(url, "GET", "/queue/v2/show/a", headers)
    assert reply.status == 401
    assert reply.headers["www-authenticate"] == 'Keystone uri="http://here/identity"'
    assert reply.headers["x-hint"] == "ask the identity service"
    assert reply.json()["title"] == "unauthorized"


async def test_errors_have_the_form_of_their_mount():
    async with serve(small_door()) as url:
        own = await ask(url, "GET", "/queue/v2/fail/conflict", token=TOKEN)
        plain = await ask(url, "GET", "/plain/nowhere")
        root = await ask(url, "GET", "/elsewhere")
    request_id = own.headers["x-openstack-request-id"]
    assert (own.status, own.json()) == (
        409,
        {"title": "conflict", "description": "Somebody was first.", "id": request_id},
    )
    for reply in (plain, root):
        assert (reply.status, reply.json()["error"]["code"]) == (404, "not-found")


@pytest.mark.parametrize(
    ("name", "status", "retry_after"),
    [
        ("unavailable", 503, "7"),
        ("poisoned", 503, "5"),
        ("unknown", 503, "5"),
        ("full", 507, None),
        ("bug", 500, None),
    ],
)
async def test_failures_tell_when_to_ask_again_and_nothing_of_the_inside(
    name, status, retry_after, caplog
):
    with caplog.at_level(logging.WARNING):
        async with serve(small_door()) as url:
            reply = await ask(url, "GET", f"/queue/v2/fail/{name}", token=TOKEN)
    assert reply.status == status
    assert reply.headers.get("retry-after") == retry_after
    assert PLANTED.encode() not in reply.body
    assert reply.json()["id"] == reply.headers["x-openstack-request-id"]
    if name == "bug":
        assert PLANTED in caplog.text
    assert (name == "unknown") == (b"may or may not have been kept" in reply.body)


async def test_log_lines_of_a_request_run_in_its_context(caplog):
    seen = []

    class Filter(logging.Filter):
        def filter(self, record):
            seen.append(current.get())
            return True

    refusals = logging.getLogger("transom.runtime.http.refusal")
    watching = Filter()
    refusals.addFilter(watching)
    try:
        async with serve(small_door()) as url:
            reply = await ask(url, "GET", "/queue/v2/fail/bug", token=TOKEN)
    finally:
        refusals.removeFilter(watching)
    assert seen[0].request_id == reply.headers["x-openstack-request-id"]
    assert seen[0].project_id == "p-one"


async def test_a_method_that_is_not_there_names_those_that_are():
    async with serve(small_door()) as url:
        reply = await ask(url, "DELETE", "/queue/v2/show/a", token=TOKEN)
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, POST, PUT")
    assert reply.json()["title"] == "method-not-allowed"


async def test_head_is_get_without_its_body():
    async with serve(small_door()) as url:
        reader, writer = await connect(url)
        writer.write(request_bytes("HEAD", "/queue/v2/open"))
        head = await read_reply(reader, "HEAD")
        writer.write(request_bytes("GET", "/queue/v2/open"))
        get = await read_reply(reader)
        await hang_up(writer)
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["content-length"]) == len(get.body)


@pytest.mark.parametrize(
    ("body", "headers", "status", "said"),
    [
        (b'{"ttl": "x"}', JSON, 400, "$.ttl"),
        (b"{", JSON, 400, "JSON"),
        (b'{"ttl": 1, "body": ' + b"[" * 1000 + b"]" * 1000 + b"}", JSON, 400, "deep"),
        (b'{"ttl": 1, "x": ' + b"[" * 100_000, JSON, 400, "deep"),
        (b'{"ttl": 99999999999999999999}', JSON, 400, "$.ttl"),
        (b'{"ttl": 1}', {"content-type": "text/plain"}, 415, "application/json"),
        (b'{"ttl": 1}', {**JSON, "content-encoding": "br"}, 415, "gzip, deflate"),
        (b'{"ttl": 1}', {**JSON, "content-encoding": "gzip"}, 400, "Content-Encoding"),
        (b'{"ttl": 1}', {**JSON, "accept": "text/html"}, 406, "application/json"),
        (b" " * 1_048_577, JSON, 413, "1048576"),
    ],
)
async def test_bad_input_gets_one_clear_status(body, headers, status, said):
    async with serve(small_door()) as url:
        reply = await ask(url, "PUT", "/queue/v2/show/a", headers, body=body, token=TOKEN)
        after = await ask(url, "GET", "/queue/v2/open")
    assert (reply.status, after.status) == (status, 200)
    assert said in reply.json()["description"]


async def test_a_header_that_would_split_the_answer_is_never_sent():
    async with serve(small_door()) as url:
        answer = await exchange(url, request_bytes("GET", "/queue/v2/split"))
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"set-cookie" not in answer


async def test_readiness_follows_the_checks():
    ready = {"db": True, "bus": False}
    checks = {name: lambda name=name: ready[name] for name in ready}
    async with serve(small_door(checks=checks)) as url:
        first = await ask(url, "GET", "/readyz")
        ready["bus"] = True
        second = await ask(url, "GET", "/readyz")
        alive = await ask(url, "GET", "/healthz")
    assert (first.status, first.json()["checks"]) == (503, {"db": True, "bus": False})
    assert "retry-after" in first.headers
    assert (second.status, alive.status) == (200, 200)


async def test_the_root_lists_the_mounts_and_metrics_count_requests():
    async with serve(small_door()) as url:
        root = await ask(url, "GET", "/")
        await ask(url, "GET", "/queue/v2/show/a")
        metrics = await ask(url, "GET", "/metrics", {"accept": "text/plain;version=0.0.4"})
    assert root.json()["mounts"] == ["/queue", "/plain"]
    assert metrics.headers["content-type"].startswith("text/plain")
    counted = 'transom_http_requests_total{method="GET",mount="/queue",status="401"} 1.0'
    assert counted in metrics.body.decode()


async def test_a_body_may_come_in_chunks_and_after_its_continue():
    async with serve(small_door()) as url:
        reader, writer = await connect(url)
        head = (
            "PUT /queue/v2/show/a HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            f"x-auth-token: {TOKEN}\r\ntransfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n"
        )
        writer.write(head.encode())
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        for piece in (b'4\r\n{"tt\r\n', b'6;x=y\r\nl": 5}\r\n', b"0\r\nx-roles: admin\r\n\r\n"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        reply = await read_reply(reader)
        await hang_up(writer)
    assert (reply.status, reply.json()["body"]) == (200, {"ttl": 5, "body": None})
    assert "x-roles" not in reply.json()["headers"]


@pytest.mark.parametrize(
    ("extra", "status"),
    [("content-length: 2000000", 413), ("content-length: 5\r\nx-auth-token: no", 401)],
)
async def test_a_request_that_is_refused_is_not_asked_for_its_body(extra, status):
    token = "" if "token" in extra else f"x-auth-token: {TOKEN}\r\n"
    head = f"PUT /queue/v2/show/a HTTP/1.1\r\nhost: x\r\n{token}expect: 100-continue\r\n{extra}\r\n"
    async with serve(small_door()) as url:
        answer = await exchange(url, f"{head}\r\n".encode(), end=False)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"connection: close" in answer
    assert b"100 Continue" not in answer
