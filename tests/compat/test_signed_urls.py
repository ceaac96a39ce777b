"""Pre-signed URLs: those of a real Zaqar hold here and ours hold there; its clients use ours."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from transom.runtime.clock import SystemClock
from transom.runtime.secrets import Secret

from support.queues import Door, open_door
from support.stack import CLIENTS, ROOT

ZAQAR = Path(os.environ.get("TRANSOM_ZAQAR", ROOT / ".cache" / "zaqar" / "bin"))
PATIENCE_S = 60.0
Q, MESSAGES = "/v2/queues/q", "/v2/queues/q/messages"
SIGN = """
import json, sys
from zaqar.common import urls
paths, methods = sys.argv[2].split(","), sys.argv[3].split(",")
print(json.dumps(urls.create_signed_url(sys.argv[1], paths, project="a", methods=methods)))
"""
VERIFY = """
import json, sys
from zaqar.common import urls
one = json.loads(sys.argv[2])
held = urls.verify_signed_headers_data(
    sys.argv[1], one["paths"], one["project"], one["signature"], one["methods"], one["expires"])
print(json.dumps(held))
"""
USE = """
import json, sys
from zaqarclient.queues import client
signed = json.loads(sys.argv[2])
options = {"os_project_id": signed["project"], **{
    key: signed[key] for key in ("paths", "expires", "methods", "signature")}}
conf = {"auth_opts": {"backend": "signed-url", "options": options}}
queue = client.Client(sys.argv[1], 2, conf).queue("q")
queue.post([{"body": "by its signature", "ttl": 300}])
seen = [message.body for message in queue.messages(echo=True)]
claimed = [message.body for message in queue.claim(ttl=60, grace=60)]
try:
    queue.purge()
    told = ""
except Exception as error:
    told = type(error).__name__
print(json.dumps([seen, claimed, told]))
"""


class Now(SystemClock):
    """The wall's clock, that a door may have."""

    def move_s(self, seconds: float) -> None:
        raise NotImplementedError


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with open_door(tmp_path, Now(), signed_url_key=Secret("shared")) as door:
        yield door


async def run(python: Path, script: str, *arguments: str) -> Any:
    """The JSON that the script printed last."""
    process = await asyncio.create_subprocess_exec(
        str(python), "-W", "ignore", "-c", script, *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(PATIENCE_S):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    return json.loads(out.decode().splitlines()[-1])


def shown(signed: dict[str, Any]) -> dict[str, str]:
    return {
        "url-signature": signed["signature"],
        "url-methods": ",".join(signed["methods"]),
        "url-paths": ",".join(signed["paths"]),
        "url-expires": signed["expires"],
        "x-project-id": signed["project"],
    }


async def test_what_a_real_zaqar_signed_holds_here(door: Door) -> None:
    paths = f"{MESSAGES},{Q}/claims"
    signed = await run(ZAQAR / "python", SIGN, "shared", paths, "POST,GET")
    for method, path, status in (
        ("POST", MESSAGES, 201),
        ("GET", MESSAGES, 200),
        ("POST", f"{Q}/claims", 201),
        ("DELETE", MESSAGES, 404),
        ("GET", f"{Q}/stats", 404),
    ):
        body = {"messages": [{"body": 1}]} if (method, path) == ("POST", MESSAGES) else None
        reply = await door.ask(method, path, body, token="", headers=shown(signed))
        assert reply.status == status, (method, path)
    other = await run(ZAQAR / "python", SIGN, "another key", paths, "GET")
    assert (await door.ask("GET", MESSAGES, token="", headers=shown(other))).status == 404


async def test_what_we_signed_holds_at_a_real_zaqar(door: Door) -> None:
    asked = {"methods": ["POST", "GET"], "paths": ["messages", "claims"]}
    signed = (await door.ask("POST", f"{Q}/share", asked)).json()
    assert await run(ZAQAR / "python", VERIFY, "shared", json.dumps(signed)) is True
    assert await run(ZAQAR / "python", VERIFY, "another", json.dumps(signed)) is False


async def test_zaqarclient_works_with_nothing_but_a_signature(door: Door) -> None:
    asked = {"methods": ["POST", "GET"], "paths": ["messages", "claims"]}
    signed = (await door.ask("POST", f"{Q}/share", asked)).json()
    endpoint = f"{door.base_url}/queue"
    found = await run(CLIENTS / "python", USE, endpoint, json.dumps(signed))
    assert found == [["by its signature"], ["by its signature"], "ResourceNotFound"]
