# SPDX-License-Identifier: Apache-2.0
"""The documents that a running Transom serves, and requests drawn from them."""

import asyncio
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from transom.runtime.http.app import make_app
from transom.runtime.http.openapi import document
from transom.runtime.http.route import Answer, Call, Mount, Route

from support.fuzz import Found, Port, drawn
from support.http import Tokens, serve
from support.stack import ROOT, running

DOCUMENTS = ROOT / "docs" / "reference" / "openapi"
SECONDS = 36
REACHED = 0.5
SEEDS = (1, 2, 3)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Port]:
    with running(tmp_path_factory.mktemp("described") / "data") as stack:
        yield Port(stack)


def test_every_mount_serves_the_document_that_is_in_the_repository(port: Port) -> None:
    written = [json.loads(path.read_text()) for path in DOCUMENTS.glob("*.json")]
    by_server = {document["servers"][0]["url"]: document for document in written}
    served = {document["servers"][0]["url"]: document for document in port.documents}
    assert served == by_server


@pytest.mark.timeout(240)
def test_no_drawn_request_fails_and_every_answer_is_as_described(port: Port) -> None:
    # Else the run would say little: most operations have to be carried out at least once. A machine
    # that is busy sends fewer requests in the time, so there it is drawn again.
    found = Found()
    for seed in SEEDS:
        found.add(port.drawn(seed=seed, time_s=SECONDS))
        assert not found.faults, "\n".join(found.faults)
        if len(found.reached) >= REACHED * len(found.operations):
            break
    missed = sorted(found.operations - found.reached)
    assert len(found.reached) >= REACHED * len(found.operations), missed


async def test_planted_faults_are_found() -> None:
    async def fails(call: Call[Any]) -> Answer:
        if sum(call.body.values()) > 3:
            raise RuntimeError
        return Answer(204)

    async def surprises(call: Call[Any]) -> Answer:
        return Answer(200, {"colour": 7})

    async def waits(call: Call[Any]) -> Answer:
        return Answer(202)

    async def lets_in(call: Call[Any]) -> Answer:
        return Answer(204)

    routes = [
        Route("POST", "/deep", fails, body=dict[str, int], public=True, answers={204: None}),
        Route("GET", "/odd", surprises, public=True, answers={200: dict[str, str]}),
        Route("GET", "/new", waits, public=True, answers={204: None}),
        Route("GET", "/open", lets_in, public=True, checks_token=True, answers={204: None}),
    ]
    mount = Mount("/planted", routes)
    app = make_app([mount], authenticate=Tokens({}), random=random.Random(1).randbytes)
    async with serve(app) as url:
        found = await asyncio.to_thread(
            drawn, url, document(mount), "any", seed=1, time_s=6, spared=frozenset()
        )
    told = "\n".join(found.faults)
    for check in (
        "not_a_server_error",
        "status_code_conformance",
        "response_schema_conformance",
        "ignored_auth",
    ):
        assert check in told, told
