# SPDX-License-Identifier: Apache-2.0
"""oslo.messaging's own functional tests, unmodified, over our driver: only the address differs.

What is expected of each test stands in `expected.txt`. The two tests that skip themselves unless
the address begins with `rabbit://` are run once more with one that says so.
"""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.oslo_peer import OSLO
from support.rabbit import fresh_vhost
from support.zmq_bus import zmq_bus

HERE = Path(__file__).parent
SHARES = 8
WITHIN_S = 240


def expected() -> dict[str, str]:
    lines = (HERE / "expected.txt").read_text().splitlines()
    pairs = [line.split(" ", 1) for line in lines if line and not line.startswith("#")]
    return {test: outcome for outcome, test in pairs}


async def share(url: str, *words: str) -> list[dict[str, str]]:
    process = await asyncio.create_subprocess_exec(
        str(OSLO), "-W", "ignore", str(HERE / "functional.py"), *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "RPC_TRANSPORT_URL": url, "NOTIFY_TRANSPORT_URL": url,
             "NO_PROXY": "localhost"},
    )  # fmt: skip
    try:
        async with asyncio.timeout(WITHIN_S):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return [json.loads(line) for line in said.splitlines() if line.startswith(b"{")]


async def outcomes(url: str) -> None:
    """Runs all; the test fails with the details of each that is not as expected."""
    ran = await asyncio.gather(
        *(share(url, str(number), str(SHARES)) for number in range(SHARES)),
        share(url, "0", "1", "--named"),
    )
    found = {line["test"]: line for lines in ran for line in lines}
    wanted = expected()
    wrong = [
        f"{name}: {found[name]['outcome']}, expected {outcome}\n{found[name]['detail']}"
        if name in found
        else f"{name}: not run"
        for name, outcome in wanted.items()
        if name not in found or found[name]["outcome"] != outcome
    ]
    print("\n".join(wrong), file=sys.stderr)
    assert not wrong, f"{len(wrong)} of {len(wanted)} are not as expected"
    assert set(found) == set(wanted), "tests that are not in expected.txt"


@pytest.fixture
def vhost() -> Iterator[str]:
    with fresh_vhost() as broker:
        yield broker.url


@pytest.mark.timeout(WITHIN_S + 30)
async def test_over_rabbit(vhost: str) -> None:
    await outcomes(f"transom+{vhost}")


@pytest.mark.timeout(WITHIN_S + 30)
async def test_over_zmq() -> None:
    async with zmq_bus(beat_s=1.0) as bus:
        await outcomes(f"transom+zmq://{bus.folder}")
