# SPDX-License-Identifier: Apache-2.0
"""Every route by every kind of tenant: who is let in, and that a foreign thing is no thing."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from transom.errors import Forbidden
from transom.queue.api.mount import PREFIX as QUEUE
from transom.runtime.http.openapi import part_of
from transom.runtime.http.route import Answer, Call, Mount, Route

from support.matrix import Matrix, asked, missing
from support.stack import ROOT
from support.tenants import HOME, World, world

Fault = Callable[[Route], Route]


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


async def test_every_route_of_every_part_is_in_the_matrix(made: World) -> None:
    assert not missing(made.mounts, await Matrix(made).furnished())
    written = {path.stem for path in (ROOT / "docs/reference/openapi").glob("*.json")}
    assert {part_of(mount) for mount in made.mounts} == written


async def test_each_tenant_is_let_in_as_the_rules_say_and_answered_as_described(
    made: World,
) -> None:
    matrix = Matrix(made)
    await matrix.admission()
    assert not matrix.faults, "\n".join(matrix.faults)
    routes = len(list(asked(made.mounts)))
    assert matrix.requests >= routes * len(made.tenants)


async def test_a_foreign_thing_answers_as_one_that_never_existed(made: World) -> None:
    matrix = Matrix(made)
    await matrix.secrecy()
    assert not matrix.faults, "\n".join(matrix.faults)


async def test_claims_of_another_identity_in_headers_change_nothing(made: World) -> None:
    matrix = Matrix(made)
    await matrix.honesty()
    assert not matrix.faults, "\n".join(matrix.faults)


HOUSE: dict[str, str] = {}
"""What a planted handler knows of the owner's project."""


def leaky(route: Route) -> Route:
    """Whoever asks is taken for one of the owner's project."""

    async def handler(call: Call[object]) -> Answer:
        call.context = structs.replace(call.context, project_id=HOUSE[HOME])
        return await route.handler(call)

    return replace(route, handler=handler)


def telling(route: Route) -> Route:
    """What is somebody else's is forbidden, and what is not there is not found."""

    async def handler(call: Call[object]) -> Answer:
        answer = await route.handler(call)
        if answer.status == 404 and call.context.project_id != HOUSE[HOME]:
            owner = structs.replace(call.context, project_id=HOUSE[HOME])
            if (await route.handler(replace(call, context=owner))).status != 404:
                raise Forbidden
        return answer

    return replace(route, handler=handler)


def open_to_all(route: Route) -> Route:
    """No token is asked for."""

    async def handler(call: Call[object]) -> Answer:
        call.context = structs.replace(call.context, project_id=HOUSE[HOME])
        return await route.handler(call)

    return replace(route, handler=handler, public=True, checks_token=True)


def unruly(route: Route) -> Route:
    """Readers may do what members may."""

    async def handler(call: Call[object]) -> Answer:
        call.context = structs.replace(call.context, roles=frozenset({"member"}))
        return await route.handler(call)

    return replace(route, handler=handler)


def trusting(route: Route) -> Route:
    """The project is that which a header says."""

    async def handler(call: Call[object]) -> Answer:
        said = dict(call.headers._raw).get(b"x-project-id")
        if said is not None:
            call.context = structs.replace(call.context, project_id=said.decode())
        return await route.handler(call)

    return replace(route, handler=handler)


def undescribed(route: Route) -> Route:
    async def handler(call: Call[object]) -> Answer:
        answer = await route.handler(call)
        return replace(answer, body={"something": "else"})

    return replace(route, handler=handler)


MESSAGE = "/v2/queues/{queue}/messages/{message}"
MESSAGES = "/v2/queues/{queue}/messages"
CLAIM = "/v2/queues/{queue}/claims/{claim}"


@pytest.mark.parametrize(
    ("method", "path", "fault", "check", "tells"),
    [
        ("GET", MESSAGE, leaky, "secrecy", "shows what is not theirs"),
        ("GET", MESSAGE, telling, "secrecy", "tells (403"),
        ("HEAD", "/v2/queues/{queue}", leaky, "secrecy", "tells (204"),
        ("DELETE", MESSAGES, leaky, "secrecy", "the thing has changed"),
        ("DELETE", CLAIM, leaky, "secrecy", "the thing has changed"),
        ("GET", "/v2/queues", leaky, "secrecy", "shows what is not theirs"),
        ("GET", MESSAGE, open_to_all, "admission", "not 401"),
        ("POST", MESSAGES, unruly, "admission", "not 403"),
        ("GET", "/v2/queues", undescribed, "admission", "is a required property"),
        ("GET", "/v2/queues", trusting, "honesty", "without claims"),
    ],
)
async def test_a_planted_fault_is_found(
    tmp_path: Path, method: str, path: str, fault: Fault, check: str, tells: str
) -> None:
    def plant(mount: Mount) -> Mount:
        routes = [
            fault(route) if (route.method, route.path) == (method, path) else route
            for route in mount.routes
        ]
        return replace(mount, routes=routes) if mount.prefix == QUEUE else mount

    async with world(tmp_path, plant) as made:
        HOUSE[HOME] = made.ids[HOME]
        matrix = Matrix(made, only=[f"{method} {QUEUE}{path}"])
        await getattr(matrix, check)()
    assert any(tells in text for text in matrix.faults), matrix.faults


async def test_a_route_that_cannot_be_asked_is_a_fault(made: World) -> None:
    async def handler(call: Call[object]) -> Answer:
        return Answer(204)

    new = [
        Route("POST", "/v2/queues/{queue}/sparks", handler, body=dict[str, str]),
        Route("GET", "/v2/queues/{queue}/sparks/{spark}", handler),
    ]
    things = await Matrix(made).furnished()
    told = "\n".join(missing([*made.mounts, Mount(QUEUE, new)], things))
    assert "POST /queue/v2/queues/{queue}/sparks takes a body" in told
    assert "GET /queue/v2/queues/{queue}/sparks/{spark} names {'spark'}" in told
    assert "has no declared access rule" in told
