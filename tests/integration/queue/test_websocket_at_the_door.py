# SPDX-License-Identifier: Apache-2.0
"""What a request on a WebSocket passes at the door: rates, the audit log, figures, bounds."""

import asyncio
import json
import random
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

from transom.runtime.http.app import make_app
from transom.runtime.telemetry.audit import AuditLog

from support.http import Tokens, serve
from support.queues import PROJECTS, MovedClock, open_door, open_service
from support.sockets import CLIENT, PATH, socket

HEADERS = {"Client-ID": CLIENT}


def post(name: str = "q", number: int = 1) -> dict[str, Any]:
    return {"queue_name": name, "messages": [{"body": "planted-body"}] * number}


async def test_the_projects_rate_counts_each_request_of_a_socket(tmp_path: Path) -> None:
    http = {"project_requests_per_s": 0.001, "project_burst": 3}
    async with open_door(tmp_path, http=http) as door, socket(door.base_url, "token-a") as ws:
        statuses = [(await ws.ask("queue_list"))[0] for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        await ws.send({"action": "queue_list", "headers": HEADERS, "body": {}})
        assert int((await ws.receive())["headers"]["Retry-After"]) > 100
        async with socket(door.base_url, "token-b") as other:
            assert (await other.ask("queue_list"))[0] == 200


async def test_each_change_is_told_to_the_audit_log_and_no_body_or_token(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(path, file_bytes=1 << 20, old_files=1)
    registry = CollectorRegistry()
    await log.start()
    async with open_service(tmp_path, MovedClock()) as service:
        app = make_app(
            [service.mount],
            authenticate=Tokens(PROJECTS),
            random=random.Random(2).randbytes,
            registry=registry,
            audit_log=log,
        )
        async with serve(app) as url, socket(url, "token-a") as ws:
            await ws.must("message_post", post())
            await ws.must("queue_list")
            await ws.ask("claim_delete", {"queue_name": "q\nx", "claim_id": CLIENT})
            async with socket(url, "token-reader") as reader:
                assert (await reader.ask("message_post", post()))[0] == 403
            figures = generate_latest(registry).decode()
    await log.stop()
    told = [json.loads(line) for line in path.read_text().splitlines()]
    shown = [(line["method"], line["path"], line["status"], line["outcome"]) for line in told]
    assert shown[0] == ("message_post", "/queue/v2/queues/q/messages", 201, "allowed")
    assert shown[1][:1] + shown[1][2:] == ("claim_delete", 400, "failed")
    assert shown[2] == ("message_post", "/queue/v2/queues/q/messages", 403, "denied")
    assert len(shown) == 3
    assert "planted-body" not in path.read_text()
    assert "token-a" not in path.read_text()
    counted = 'transom_http_requests_total{method="message_post",mount="/queue",status="201"} 1.0'
    assert counted in figures
    assert "transom_http_sockets 2.0" in figures or "transom_http_sockets 1.0" in figures


async def test_nothing_is_changed_where_it_must_be_audited_and_cannot(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.symlink_to("/dev/full")
    log = AuditLog(path, file_bytes=1 << 20, old_files=1, needed=True)
    await log.start()
    async with open_service(tmp_path, MovedClock()) as service:
        app = make_app(
            [service.mount],
            authenticate=Tokens(PROJECTS),
            random=random.Random(2).randbytes,
            audit_log=log,
        )
        async with serve(app) as url, socket(url, "token-a") as ws:
            status, answer = await ws.ask("message_post", post())
            assert (status, "audit log" in answer["error"]) == (503, True)
            assert (await ws.ask("message_post", post()))[0] == 503
            stats = await ws.must("queue_get_stats", {"queue_name": "q"})
            assert stats["messages"]["total"] == 1, "the first found out that it cannot be told"
    path.unlink()
    await log.stop()


async def test_requests_without_end_are_begun_as_answers_are_read(tmp_path: Path) -> None:
    async with (
        open_door(tmp_path, http={"socket_requests_max": 4}) as door,
        socket(door.base_url, "token-a") as ws,
    ):
        wait = {"queue_name": "q", "wait": 30}
        for number in range(4):
            frame = {"action": "message_list", "id": number, "headers": HEADERS, "body": wait}
            await ws.send(frame)
        late = {"action": "queue_list", "id": "late", "headers": HEADERS, "body": {}}
        await ws.send(late)
        async with socket(door.base_url, "token-a-other") as other:
            assert (await other.ask("message_post", post(), client="4" * 32))[0] == 201
        ids = [(await ws.receive())["request"]["id"] for _ in range(5)]
        assert sorted(map(str, ids[:4])) == ["0", "1", "2", "3"]
        assert ids[4] == "late"


async def test_too_many_waiters_refuse_a_subscription_and_not_the_socket(tmp_path: Path) -> None:
    async with (
        open_door(tmp_path, project_max_waiters=1) as door,
        socket(door.base_url, "token-a") as ws,
    ):
        await ws.must("subscription_create", {"queue_name": "q"})
        status, answer = await ws.ask("subscription_create", {"queue_name": "r"})
        assert (status, "wait" in answer["error"]) == (429, True)
        await ws.must("message_post", post())
        assert (await ws.push())["body"] == "planted-body"


async def test_a_frame_larger_than_a_request_may_be_is_1009(tmp_path: Path) -> None:
    async with (
        open_door(tmp_path, max_messages_post_bytes=1000) as door,
        socket(door.base_url, "token-a") as ws,
    ):
        assert (await ws.ask("message_post", post(number=40)))[0] == 400
        await ws.connection.send(json.dumps({"action": "message_post", "body": "x" * 5000}))
        assert (await ws.closed())[0] == 1009
        assert PATH.endswith("websocket")


async def test_a_thousand_sockets_that_hang_up_at_once_leave_nothing(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        for _ in range(10):
            opened = [socket(door.base_url, "token-a") for _ in range(20)]
            clients = await asyncio.gather(*(one.__aenter__() for one in opened))
            for client in clients:
                await client.must("subscription_create", {"queue_name": "q"})
                client.connection.transport.abort()
            await asyncio.gather(*(one.__aexit__(None, None, None) for one in opened))
        bell = door.service.app.watching._access.waiting.bell
        async with asyncio.timeout(20):
            while bell.waiting:
                await asyncio.sleep(0.01)
        async with socket(door.base_url, "token-a") as ws:
            assert (await ws.ask("queue_list"))[0] == 200
