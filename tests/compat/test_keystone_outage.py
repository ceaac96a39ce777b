# SPDX-License-Identifier: Apache-2.0
"""A real Keystone that is killed, hangs, forgets its keys or is behind a bad network."""

import asyncio
import base64
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from transom.errors import Unauthorized, Unavailable
from transom.runtime.auth.keystone import Keystone, ServiceCredentials
from transom.runtime.auth.tokens import TokenValidator
from transom.runtime.auth.watch import AWAY
from transom.runtime.clock import SystemClock
from transom.runtime.secrets import Secret

from fault_proxy import FaultProxy, Faults
from support.keystone import ADMIN_PASSWORD, RealKeystone, real_keystone
from support.registered import Person, asked, registered
from support.stack import Stack, get, wait_for

BOUND_S = 15
"""The deadline of an asking is 5; the rest is what a busy machine adds."""

pytestmark = pytest.mark.timeout(300)


@dataclass
class World:
    keystone: RealKeystone
    stack: Stack
    ada: Person

    def status(self, token: str) -> int:
        return asked(self.stack, token)[0]

    def warnings(self) -> dict[str, str]:
        status, body = get(f"{self.stack.url}/readyz")
        assert status == 200
        return json.loads(body).get("warnings", {})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, made_keystone: Path) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("outage")
    with (
        real_keystone(folder / "keystone", made_keystone) as own,
        registered(folder / "data", own) as stack,
    ):
        yield World(own, stack, Person(own, "olga", "works-of-olga"))


@dataclass(frozen=True)
class Outage:
    begin: Callable[[RealKeystone], object]
    end: Callable[[RealKeystone], object]


def _forget_keys(keystone: RealKeystone) -> None:
    keystone.stop()
    for key in (keystone.folder / "fernet").iterdir():
        key.write_bytes(base64.urlsafe_b64encode(os.urandom(32)))


OUTAGES = {
    "killed": Outage(RealKeystone.stop, RealKeystone.start),
    "hangs": Outage(RealKeystone.pause, RealKeystone.resume),
    "killed, and has lost its keys": Outage(_forget_keys, RealKeystone.start),
}


@pytest.mark.parametrize("kind", OUTAGES)
def test_known_tokens_go_on_others_are_told_when_to_come_back_and_its_return_heals(
    world: World, kind: str
) -> None:
    known, fresh = world.ada.token(), world.ada.token()
    assert world.status(known) == 200
    OUTAGES[kind].begin(world.keystone)
    try:
        assert world.status(known) == 200
        began_s = time.monotonic()
        with ThreadPoolExecutor(8) as threads:
            tokens = [fresh, *(f"made-up-{number}" for number in range(7))]
            told = list(threads.map(lambda token: asked(world.stack, token), tokens))
        assert time.monotonic() - began_s < BOUND_S
        assert [status for status, _, _ in told] == [503] * 8
        assert all(int(headers["retry-after"]) >= 1 for _, headers, _ in told)
        assert world.warnings() == {"keystone": AWAY}
        assert world.status(known) == 200
    finally:
        OUTAGES[kind].end(world.keystone)
    wait_for(lambda: world.status("made-up") == 401, BOUND_S)
    assert world.status(world.ada.token()) == 200
    assert world.status(fresh) == (401 if "keys" in kind else 200)
    assert world.warnings() == {}


def test_a_service_user_who_is_shut_out_is_an_outage_until_let_in_again(world: World) -> None:
    keystone, known = world.keystone, world.ada.token()
    assert world.status(known) == 200
    admin = keystone.admin()
    user = keystone.ask("GET", "/users?name=transom", token=admin)[2]["users"][0]["id"]
    for enabled, status in ((False, 503), (True, 200)):
        body = {"user": {"enabled": enabled}}
        assert keystone.ask("PATCH", f"/users/{user}", body, keystone.admin())[0] == 200
        wait_for(lambda wanted=status: world.status(world.ada.token()) == wanted, BOUND_S)
        assert world.status(known) == 200
    assert world.warnings() == {}


@asynccontextmanager
async def behind(
    keystone: RealKeystone, deadline_s: float = 1.0
) -> AsyncIterator[tuple[TokenValidator, FaultProxy]]:
    """A validator whose way to Keystone leads through a proxy."""
    async with FaultProxy("127.0.0.1", keystone.port) as proxy:
        host, port = proxy.address
        credentials = ServiceCredentials(
            f"http://{host}:{port}/v3", "admin", Secret(ADMIN_PASSWORD), project_name="admin"
        )
        clock = SystemClock()
        asking = Keystone(credentials, clock, deadline_s)
        tokens = TokenValidator(asking, clock, lambda: 0)
        await tokens.start()
        try:
            async with asyncio.timeout(60):
                await _until_valid(tokens, keystone.admin())
            yield tokens, proxy
        finally:
            await tokens.stop()


async def _until_valid(tokens: TokenValidator, token: str) -> None:
    while True:
        try:
            await tokens.validate(token)
        except Unavailable:
            await asyncio.sleep(0.05)
        else:
            return


@pytest.mark.parametrize(
    "faults",
    [
        Faults(swallow=True),
        Faults(delay_s=30),
        Faults(bytes_per_s=20),
        Faults(refuse=True),
        Faults(cut_after_bytes=200),
    ],
    ids=["half-open", "delayed", "trickles", "refused", "cut in an answer"],
)
async def test_a_bad_network_is_an_outage_that_ends_by_itself(
    keystone: RealKeystone, faults: Faults
) -> None:
    async with behind(keystone) as (tokens, proxy):
        known = keystone.admin()
        await _until_valid(tokens, known)
        wanted = [keystone.admin() for _ in range(3)]
        once = faults.cut_after_bytes is not None
        proxy.faults = faults
        if faults.refuse:
            proxy.reset_all()
        began_s = time.monotonic()
        results = await asyncio.gather(
            *(tokens.validate(token) for token in [*wanted, "made-up"]), return_exceptions=True
        )
        assert time.monotonic() - began_s < BOUND_S
        assert not any(isinstance(result, Unauthorized) for result in results[:3])
        if not once:  # what is cut before its answer began is asked again
            assert any(isinstance(result, Unavailable) for result in results)
        assert tokens.cached(known) is not None
        proxy.faults = Faults()
        async with asyncio.timeout(60):
            for token in wanted:
                await _until_valid(tokens, token)
