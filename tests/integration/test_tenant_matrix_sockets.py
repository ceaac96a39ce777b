# SPDX-License-Identifier: Apache-2.0
"""Every action of the queue's WebSocket by every kind of tenant, as the matrix has for routes."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from transom.errors import Forbidden
from transom.queue.api.mount import PREFIX as QUEUE
from transom.queue.api.socket.actions import SPECS
from transom.runtime.auth.declared import defaults
from transom.runtime.auth.rules import Rules

from support.matrix import OWNER, RULES, Matrix
from support.sockets import SocketClient, socket
from support.tenants import MARK, Tenant, World, world

NAMELESS = {"queue_list"}
Things = Mapping[str, str]


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


def body_of(action: str, things: Things) -> dict[str, Any]:
    """All that any action takes; what one does not take, it passes over."""
    body: dict[str, Any] = {
        "queue_name": things["queue"],
        "message_id": things["message"],
        "message_ids": [things["message"]],
        "subscription_id": things["subscription"],
        "changes": [{"op": "add", "path": "/metadata/colour", "value": "red"}],
        "queues": [things["queue"]],
        "reason": "no reason",
        "ttl": 60,
        "grace": 60,
    }
    if action not in ("message_delete", "message_get"):
        body["claim_id"] = things["claim"]
    if action in ("message_list", "queue_list"):
        body["limit"] = 20
    if action == "message_post":
        body["messages"] = [{"body": 1}]
    if action == "claim_create_many":
        del body["queue_name"]
    if action == "queue_purge":
        body["resource_types"] = ["messages"]
    return body


def admitted(action: str, tenant: Tenant) -> bool:
    """What the declared rule of the action's route says."""
    operation = SPECS[action].operation
    rule = next(rule for rule in RULES[QUEUE] if operation in rule.operations)
    assert tenant.context is not None
    try:
        Rules(defaults(RULES[QUEUE])).enforce(
            rule.name, tenant.context, {"project_id": tenant.context.project_id}
        )
    except Forbidden:
        return False
    return True


def wanted(action: str, tenant: Tenant) -> int | None:
    """The status that has to come; None for success, if the thing is the tenant's."""
    if tenant.context is None:
        return 403
    if not tenant.context.project_id:
        return 400
    return None if admitted(action, tenant) else 403


async def opened(made: World, tenant: Tenant, stack: AsyncExitStack) -> SocketClient | None:
    """Its socket; None where the handshake is refused for its token."""
    entered = socket(made.cloud.base_url, additional_headers=dict(tenant.headers))
    try:
        return await stack.enter_async_context(entered)
    except InvalidStatus as refused:
        if refused.response.status_code != 401 or tenant.context is not None:
            raise
        return None


async def test_each_tenant_may_do_on_a_socket_what_the_rules_say(made: World) -> None:
    matrix = Matrix(made)
    faults = []
    for tenant in made.tenants.values():
        async with AsyncExitStack() as stack:
            ws = await opened(made, tenant, stack)
            if ws is None:
                continue
            for action in SPECS:
                if action not in ws_actions(made):
                    continue
                things = await matrix._queue_things()
                status, answer = await ws.ask(action, body_of(action, things))
                want = wanted(action, tenant)
                if want is not None and status != want:
                    faults.append(f"{action} by {tenant.name}: {status}, not {want}: {answer}")
                if want is None and tenant.is_owner and status >= 400 and action != "claim_reject":
                    faults.append(f"{action} by {tenant.name}: {status}: {answer}")
                if not tenant.is_owner and MARK in str(answer):
                    faults.append(f"{action} by {tenant.name}: told {answer}")
    assert not faults, "\n".join(faults)


async def test_a_foreign_thing_on_a_socket_answers_as_one_that_never_existed(made: World) -> None:
    matrix = Matrix(made)
    mine = await matrix.furnished()
    nothing = matrix.unknown(mine)
    owner = made.tenants[OWNER]
    before = await standing(made, owner, mine)
    faults = []
    for tenant in made.tenants.values():
        if tenant.is_owner or tenant.context is None:
            continue
        async with AsyncExitStack() as stack:
            ws = await opened(made, tenant, stack)
            assert ws is not None
            for action in SPECS:
                if action in NAMELESS or action not in ws_actions(made):
                    continue
                told = []
                for things in (mine, nothing):
                    status, answer = await ws.ask(action, body_of(action, things))
                    text = str(answer)
                    for name, value in things.items():
                        text = text.replace(value, f"<{name}>")
                    told.append((status, text))
                    await ws.ask("queue_delete", {"queue_name": things["queue"]})
                if told[0][0] != told[1][0] or (told[0][0] >= 400 and told[0] != told[1]):
                    faults.append(f"{action} by {tenant.name}: {told}")
    assert not faults, "\n".join(faults)
    assert await standing(made, owner, mine) == before


def ws_actions(made: World) -> set[str]:
    """Those whose routes are mounted."""
    queue = next(mount for mount in made.mounts if mount.prefix == QUEUE)
    routes = {f"{route.method} {route.path}" for route in queue.routes}
    return {action for action, spec in SPECS.items() if spec.operation in routes}


async def standing(made: World, owner: Tenant, things: Things) -> list[Any]:
    """What the owner sees of its things."""
    async with socket(made.cloud.base_url, additional_headers=dict(owner.headers)) as ws:
        named = {"queue_name": things["queue"], "claim_id": things["claim"]}
        return [
            (await ws.ask("queue_get_stats", named))[1]["messages"]["total"],
            (await ws.ask("queue_get", named))[1]["colour"],
            len((await ws.ask("claim_get", named))[1]["messages"]),
            (await ws.ask("message_get", {**named, "message_id": things["message"]}))[0],
            (await ws.ask("subscription_list", named))[1]["subscriptions"],
        ]
