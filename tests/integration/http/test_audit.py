# SPDX-License-Identifier: Apache-2.0
"""What doors tell the audit log, over a real socket."""

import asyncio
import json
import os
from contextlib import asynccontextmanager

import pytest

from transom.runtime.auth.context import Context
from transom.runtime.telemetry.audit import AuditLog

from support.door import ALICE, TOKEN, Gate, small_door
from support.http import (
    Tokens,
    ask,
    connect,
    exchange,
    hang_up,
    request_bytes,
    serve,
)
from support.identity import by_password, by_token, cloud, on_project, password_of

JSON = {"content-type": "application/json"}
POST = {"json_body": {"ttl": 60, "body": "the-planted-body"}}
BOB = Context("", user_id="u-bob", user_name="b\nob\x1b[2J", project_id="p-two",
              project_name="p", domain_id="d", system=True, roles=frozenset(["x", "admin"]),
              credential_id="c-1")  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.log"


def lines(path):
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


@asynccontextmanager
async def audited(path, *, needed=False, **options):
    log = AuditLog(path, file_bytes=1 << 20, old_files=1, needed=needed)
    await log.start()
    known = Tokens({TOKEN: ALICE, "bob": BOB})
    async with serve(small_door(audit_log=log, authenticate=known, **options)) as url:
        yield url
    await log.stop()


async def test_a_write_is_told_with_all_that_is_known_of_its_caller(path):
    async with audited(path) as url:
        reply = await ask(url, "PUT", "/queue/v2/show/a?secret=planted", token="bob", **POST)
    (line,) = lines(path)
    assert line.pop("time").endswith("Z")
    assert line.pop("duration_us") > 0
    assert line == {
        "request_id": reply.headers["x-openstack-request-id"],
        "outcome": "allowed", "status": 200, "method": "PUT", "mount": "/queue",
        "path": "/queue/v2/show/a", "client": "127.0.0.1", "caller": {
            "user_id": "u-bob", "user_name": "b\\nob\\x1b[2J", "project_id": "p-two",
            "project_name": "p", "domain_id": "d", "system": True, "roles": ["admin", "x"],
            "credential_id": "c-1",
        },
    }  # fmt: skip
    text = path.read_text()
    assert "planted" not in text
    assert "bob" not in text.replace("u-bob", "")


@pytest.mark.parametrize(
    ("method", "target", "token", "outcome"),
    [
        ("GET", "/queue/v2/show/a", TOKEN, None),
        ("HEAD", "/queue/v2/show/a", TOKEN, None),
        ("GET", "/queue/nowhere", TOKEN, None),
        ("GET", "/queue/v2/fail/bug", TOKEN, None),
        ("GET", "/healthz", "", None),
        ("GET", "/queue/v2/show/a", "", ("denied", 401, "/queue")),
        ("HEAD", "/queue/v2/show/a", "wrong", ("denied", 401, "/queue")),
        ("GET", "/queue/v2/fail/forbidden", TOKEN, ("denied", 403, "/queue")),
        ("GET", "/queue/v2/fail/too-many", TOKEN, ("denied", 429, "/queue")),
        ("PUT", "/queue/v2/show/a", "", ("denied", 401, "/queue")),
        ("PUT", "/queue/v2/show/a", TOKEN, ("failed", 400, "/queue")),
        ("DELETE", "/queue/v2/show/a", TOKEN, ("failed", 405, "/queue")),
        ("POST", "/queue/nowhere", TOKEN, ("failed", 404, "/queue")),
        ("POST", "/nowhere", TOKEN, ("failed", 404, "/")),
        ("PROPFIND", "/queue/v2/show/a", TOKEN, ("failed", 405, "/queue")),
        ("PUT", "/queue/v2/show/%ff", TOKEN, ("failed", 400, "/queue")),
    ],
)
async def test_writes_and_denials_are_told_and_nothing_else(path, method, target, token, outcome):
    async with audited(path) as url:
        reply = await ask(url, method, target, token=token)
    found = [(line["outcome"], line["status"], line["mount"]) for line in lines(path)]
    assert found == ([] if outcome is None else [outcome])
    if outcome is not None:
        (line,) = lines(path)
        assert reply.status == line["status"]
        assert reply.headers["x-openstack-request-id"] == line["request_id"]
        assert line["method"] == method
        assert line["path"] == target


async def test_a_path_can_neither_forge_a_line_nor_fill_the_log(path):
    forged = "/queue/v2/show/%0a%7b%22outcome%22:%22allowed%22%7d%e2%80%ae"
    async with audited(path) as url:
        await ask(url, "DELETE", forged, token=TOKEN)
        await ask(url, "DELETE", "/queue/" + "x" * 5000, token=TOKEN)
    first, second = lines(path)
    assert first["path"] == forged
    assert first["outcome"] == "failed"
    assert len(second["path"]) == 1027


async def test_requests_of_one_connection_are_told_each_with_its_own_caller(path):
    body = json.dumps(POST["json_body"]).encode()
    sent = b"".join(
        request_bytes("PUT", "/queue/v2/show/a", {**JSON, "x-auth-token": token}, body)
        for token in ("bob", "wrong", TOKEN)
    )
    async with audited(path) as url:
        await exchange(url, sent)
    shown = [(line["outcome"], line.get("caller", {}).get("user_id")) for line in lines(path)]
    assert shown == [("allowed", "u-bob"), ("denied", None), ("allowed", "u-alice")]


async def test_a_write_whose_caller_went_away_is_told_as_unknown(path):
    async with audited(path) as url:
        _, writer = await connect(url)
        headers = {**JSON, "x-auth-token": TOKEN, "content-length": "100"}
        writer.write(request_bytes("PUT", "/queue/v2/show/a", headers) + b'{"ttl"')
        await writer.drain()
        await asyncio.sleep(0.05)
        await hang_up(writer)
        async with asyncio.timeout(10):
            while not path.read_text():
                await asyncio.sleep(0.01)
    (line,) = lines(path)
    assert (line["outcome"], line["status"], line["caller"]["user_id"]) == ("unknown", 0, "u-alice")


async def test_a_full_disk_stops_nothing_unless_the_log_is_needed(path):
    os.symlink("/dev/full", path)
    async with audited(path) as url:
        reply = await ask(url, "PUT", "/queue/v2/show/a", token=TOKEN, **POST)
        metrics = (await ask(url, "GET", "/metrics")).body.decode()
    assert reply.status == 200
    assert "transom_audit_lines_waiting 1.0" in metrics


async def test_where_it_is_needed_nothing_is_changed_while_it_cannot_be_written(path):
    os.symlink("/dev/full", path)
    gate = Gate()
    async with audited(path, needed=True, gate=gate) as url:
        first = await ask(url, "PUT", "/queue/v2/show/a", token=TOKEN, **POST)
        changed = gate.reached
        refused = await ask(url, "POST", "/queue/v2/gate", token=TOKEN)
        read = await ask(url, "GET", "/queue/v2/show/a", token=TOKEN)
        denied = await ask(url, "GET", "/queue/v2/show/a")
        path.unlink()
        await asyncio.sleep(1.1)
        asking = asyncio.create_task(ask(url, "POST", "/queue/v2/gate", token=TOKEN))
        gate.open.set()
        again = await asking
    assert (first.status, first.headers["retry-after"]) == (503, "5")
    assert "audit log" in first.json()["description"]
    assert refused.status == 503
    assert changed == 0
    assert read.status == 200
    assert denied.status == 401
    assert again.status == 200
    assert gate.reached == 1
    told = [
        (line["outcome"], line["status"], line["path"].rpartition("/")[2]) for line in lines(path)
    ]
    assert told == [
        ("allowed", 200, "a"), ("failed", 503, "gate"), ("denied", 401, "a"),
        ("allowed", 200, "gate"),
    ]  # fmt: skip


async def test_a_sign_in_is_told_with_whom_it_names_and_never_its_secret(path, tmp_path):
    log = AuditLog(path, file_bytes=1 << 20, old_files=1)
    await log.start()
    async with cloud(tmp_path / "data", audit_log=log) as here:
        password = password_of(here.data)
        scope = on_project("admin")
        good = await here.ask("POST", "/v3/auth/tokens", by_password("admin", password, scope))
        token = good.headers["x-subject-token"]
        bad = by_password("admin", "planted-password", scope)
        nobody = by_password("no\nbody", "planted-password", domain="else\x1bwhere")
        for body in (bad, nobody, {"auth": {"identity": {"methods": ["password"]}}}):
            await here.ask("POST", "/v3/auth/tokens", body)
        again = await here.ask("POST", "/v3/auth/tokens", by_token(token))
        await here.ask("GET", "/v3/users", token="planted-token")
        await here.ask("DELETE", "/v3/auth/tokens", token=token, subject=token)
    await log.stop()
    text = path.read_text()
    for secret in (password, token, again.headers["x-subject-token"], "planted"):
        assert secret not in text
    told = [(line["outcome"], line["status"], line["method"]) for line in lines(path)]
    assert told == [
        ("allowed", 201, "POST"), ("denied", 401, "POST"), ("denied", 401, "POST"),
        ("failed", 400, "POST"), ("allowed", 201, "POST"), ("denied", 401, "GET"),
        ("allowed", 204, "DELETE"),
    ]  # fmt: skip
    signed, wrong, unknown, malformed, rescoped, read, revoked = lines(path)
    for line in (signed, revoked):
        caller = line["caller"]
        assert (caller["user_name"], caller["project_name"]) == ("admin", "admin")
        assert "admin" in caller["roles"]
    assert rescoped["caller"]["user_name"] == "admin"
    assert wrong["claimed"] == {"user_name": "admin", "user_domain": "default"}
    assert unknown["claimed"] == {"user_name": "no\\nbody", "user_domain": "else\\x1bwhere"}
    assert "caller" not in wrong.keys() | unknown.keys() | read.keys()
    assert "claimed" not in malformed
