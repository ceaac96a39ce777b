"""A bus whose parties get their keys from a served key server: every purpose, end to end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from transom import messaging
from transom.errors import MessageDeliveryFailure
from transom.messaging import Client, Listener, Notifier, Server, Target
from transom.messaging.secured import Security
from transom.messaging.security.keyfile import KeyFile, encode_key_file
from transom.runtime.clock import SystemClock
from transom.runtime.secrets import write_private

from support.keys import Door, opened_door

CONTEXT: dict[str, Any] = {}


class Endpoint:
    def __init__(self) -> None:
        self.heard = asyncio.Event()

    async def add(self, context: Any, one: int, other: int) -> int:
        return one + other

    async def hear(self, context: Any) -> None:
        self.heard.set()


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with opened_door(tmp_path, SystemClock()) as door:  # type: ignore[arg-type]
        yield door


def security(file: KeyFile, mode: Any, folder: Path) -> Security:
    """As a service reads it from the file that it was given."""
    path = folder / f"{file.name}.key"
    write_private(path, encode_key_file(file))
    return Security.from_file(path, mode=mode)


@pytest.mark.parametrize("mode", ["sign", "encrypt"])
@pytest.mark.parametrize("public_key", [False, True], ids=["shared-key", "public-key"])
async def test_calls_casts_and_notifications_are_secured_by_files_of_the_key_server(
    door: Door, mode: str, public_key: bool
) -> None:
    enrolment = door.enrolment
    made = enrolment.certified if public_key else enrolment.add
    host, caller, listening = [
        await made(name) for name in ("scheduler.host1", "api.host1", "notifications.host1")
    ]
    endpoint, bus = Endpoint(), f"memory://keys-{mode}-{public_key}"
    async with asyncio.timeout(30), AsyncExitStack() as stack:
        server, client, listener = [
            await stack.enter_async_context(
                messaging.connect(f"{bus}/{file.name}", security=security(file, mode, door.folder))
            )
            for file in (host, caller, listening)
        ]
        await stack.enter_async_context(
            Server(server, Target(topic="scheduler", server="host1"), [endpoint])
        )
        scheduler = Client(client, Target(topic="scheduler"), timeout_s=10)
        assert await scheduler.call(CONTEXT, "add", one=1, other=2) == 3
        assert await scheduler.to(server="host1").call(CONTEXT, "add", one=3, other=4) == 7
        await scheduler.to(fanout=True).cast(CONTEXT, "hear")
        await endpoint.heard.wait()
        heard = await stack.enter_async_context(
            Listener(listener, [Target(topic="notifications")], pool="all")
        )
        await Notifier(client, publisher_id="api.host1").info(CONTEXT, "image.create", {"a": 1})
        async for message in heard:
            assert message.payload == {"a": 1}
            await message.acknowledge()
            break
    given = {purpose for (purpose, outcome) in door.service.figures._counts if outcome == "given"}
    wanted = {"ticket", "group-ticket", "group-key"}
    assert wanted <= given if not public_key else not given


async def test_a_party_that_was_removed_gets_nothing_more(door: Door) -> None:
    enrolment = door.enrolment
    host, caller = await enrolment.add("scheduler.host1"), await enrolment.add("api.host1")
    await door.service.local.custody.remove("api.host1")
    async with asyncio.timeout(30), AsyncExitStack() as stack:
        server, client = [
            await stack.enter_async_context(
                messaging.connect(
                    f"memory://keys-gone/{file.name}", security=security(file, "sign", door.folder)
                )
            )
            for file in (host, caller)
        ]
        await stack.enter_async_context(
            Server(server, Target(topic="scheduler", server="host1"), [Endpoint()])
        )
        scheduler = Client(client, Target(topic="scheduler"), timeout_s=5)
        with pytest.raises(MessageDeliveryFailure, match="401"):
            await scheduler.call(CONTEXT, "add", one=1, other=2)
