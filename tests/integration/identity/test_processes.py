"""Identity in several processes on one data folder, and the doors' cache in front of it."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from transom.errors import Unauthorized
from transom.runtime.auth.generation import FILE_NAME, Generation
from transom.runtime.auth.keystone import Keystone, ServiceCredentials
from transom.runtime.auth.tokens import TokenValidator
from transom.runtime.clock import SystemClock
from transom.runtime.secrets import Secret

from support.identity import Cloud, by_password, cloud, password_of, service_password

TOKENS = "/v3/auth/tokens"
OTHER = """
import asyncio, sys
from pathlib import Path
from support.identity import cloud

async def main():
    async with cloud(Path(sys.argv[1])) as here:
        print(here.base_url, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main())
"""


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with cloud(tmp_path) as served:
        yield served


@asynccontextmanager
async def another(here: Cloud) -> AsyncIterator[Cloud]:
    """The same cloud, served by a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OTHER, str(here.data)),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        url = (await asyncio.wait_for(process.stdout.readline(), 30)).decode().strip()
        yield Cloud(url, here.service, here.data, here.clock)
    finally:
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 30)
    assert process.returncode == 0


@asynccontextmanager
async def door(there: Cloud) -> AsyncIterator[TokenValidator]:
    """The token cache of a process that has nothing of identity but the data folder."""
    secret = service_password(there.data)
    clock = SystemClock()
    credentials = ServiceCredentials(there.base_url + "/identity", "transom", Secret(secret))
    generation = Generation(there.data / FILE_NAME, os.urandom)
    await generation.start()
    validator = TokenValidator(Keystone(credentials, clock), clock, generation.read)
    await validator.start()
    try:
        yield validator
    finally:
        await validator.stop()
        await generation.stop()


async def test_another_process_knows_tokens_and_their_revocation_at_once(here: Cloud) -> None:
    password = password_of(here.data)
    async with another(here) as there:
        for giving, ending, asked in ((here, there, here), (there, here, there)):
            token = await giving.token(by_password("admin", password))
            reply = await ending.ask("DELETE", TOKENS, token=token, subject=token)
            assert reply.status == 204
            assert (await asked.ask("GET", "/v3/auth/projects", token=token)).status == 401


async def test_a_doors_cache_forgets_what_another_process_revoked(here: Cloud) -> None:
    _, _, token = await here.member("alice", "secret", "place")
    async with another(here) as there, door(here) as validator:
        context = await validator.validate(token)
        assert (context.user_name, context.roles) == ("alice", frozenset({"member"}))
        assert validator.cached(token) == context
        assert (await there.ask("DELETE", TOKENS, token=token, subject=token)).status == 204
        assert validator.cached(token) is None
        with pytest.raises(Unauthorized):
            await validator.validate(token)


async def test_a_doors_cache_forgets_a_role_that_was_taken_away(here: Cloud) -> None:
    user_id, project_id, token = await here.member("alice", "secret", "place")
    path = await here.grant(user_id, project_id, "reader")
    async with door(here) as validator:
        assert (await validator.validate(token)).roles == {"member", "reader"}
        await here.as_admin("DELETE", path)
        assert (await validator.validate(token)).roles == {"member"}


async def test_a_start_changes_the_generation(here: Cloud) -> None:
    before = here.service.generation()
    async with another(here):
        assert here.service.generation() != before
