"""python-zaqarclient's WebSocket transport, unmodified, against the queue's door."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from support.queues import Door, open_door
from support.sockets import PATH
from support.stack import CLIENTS

PATIENCE_S = 60.0
BEGIN = """
import json, sys
from zaqarclient import transport
from zaqarclient.transport import errors, request
endpoint = sys.argv[1]
options = {"os_auth_token": sys.argv[2], "os_project_id": "a"}
conf = {"auth_opts": {"backend": "keystone", "options": options}}
ws = transport.get_transport_for(endpoint, version=2, options=conf)
def ask(action, **body):
    content = json.dumps(body) if body else None
    answer = ws.send(request.Request(endpoint, action, content=content))
    return answer.status_code, answer.deserialized_content
"""


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with open_door(tmp_path) as door:
        yield door


async def run(door: Door, script: str, token: str = "token-a") -> Any:
    """The JSON that the script printed last."""
    process = await asyncio.create_subprocess_exec(
        str(CLIENTS / "python"),
        "-c",
        BEGIN + script,
        door.base_url.replace("http", "ws", 1) + PATH,
        token,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    return json.loads(out.decode().splitlines()[-1])


async def test_zaqarclient_works_through_its_websocket_transport(door: Door) -> None:
    script = """
found = [ask("queue_create", queue_name="zq", metadata={"a": 1})[0]]
found.append(ask("queue_get", queue_name="zq")[1]["a"])
found.append(len(ask("message_post", queue_name="zq",
    messages=[{"body": n, "ttl": 60} for n in range(3)])[1]["message_ids"]))
status, claim = ask("claim_create", queue_name="zq", ttl=60, grace=60, limit=2)
found.append([status, [message["body"] for message in claim["messages"]]])
for message in claim["messages"]:
    found.append(ask("message_delete", queue_name="zq", message_id=message["id"],
        claim_id=claim["claim_id"])[0])
found.append(ask("queue_get_stats", queue_name="zq")[1]["messages"]["total"])
found.append([queue["name"] for queue in ask("queue_list")[1]["queues"]])
try:
    ask("message_get", queue_name="zq", message_id=claim["messages"][0]["id"])
except errors.ResourceNotFound as error:
    found.append("not found: " + str(error)[:0])
try:
    ask("claim_create", queue_name="zq", ttl=1, grace=60)
except errors.MalformedRequest as error:
    found.append("from 60" in str(error))
print(json.dumps(found))
"""
    assert await run(door, script) == [
        201, 1, 3, [201, [0, 1]], 204, 204, 1, ["zq"], "not found: ", True,
    ]  # fmt: skip


async def test_zaqarclient_is_told_of_messages_that_are_posted(door: Door) -> None:
    script = """
ask("subscription_create", queue_name="zq", ttl=300)
ask("message_post", queue_name="zq", messages=[{"body": "hello", "ttl": 60}])
pushed = ws.recv()
print(json.dumps([pushed["Message_Type"], pushed["queue_name"], pushed["body"], pushed["ttl"]]))
"""
    assert await run(door, script) == ["Notification", "zq", "hello", 60]


async def test_zaqarclient_learns_that_its_token_is_not_valid(door: Door) -> None:
    script = """
try:
    ask("queue_list")
except errors.UnauthorizedError as error:
    print(json.dumps("Authentication failed." in str(error)))
"""
    assert await run(door, script, "token-wrong") is True
