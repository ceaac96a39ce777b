# SPDX-License-Identifier: Apache-2.0
"""What encrypted queues cost: the same calls on a plain and on an encrypted queue, by turns.

Posting 20 messages, listing 20, and claiming 20 and giving them up, on one file, without the door:
process time a message, and medians of what was waited. Beside them sealing and opening alone.

    python bench/queue/sealing.py [--turns 400] [--json FILE]
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from transom.queue.config import QueueConfig
from transom.queue.logic import sealing
from transom.queue.model import ClientId, MessageFilter, NewMessage, claim_text
from transom.queue.service import MIGRATIONS, QueueService, build
from transom.runtime.auth.context import Context
from transom.runtime.clock import SystemClock
from transom.runtime.db.sqlite import SqliteDatabase
from transom.runtime.sealing import Sealer

CONTEXT = Context("", project_id="p", roles=frozenset({"member"}))
CLIENT = ClientId(b"c" * 16)
BODY = b'"' + b"x" * 138 + b'"'
BATCH = 20
ALONE = 20_000
MASTER = (b"m" * 32,)


def alone() -> dict[str, float]:
    """Microseconds of one body, sealed and opened."""
    key, nonces = AESGCM(bytes(32)), [os.urandom(12) for _ in range(ALONE)]
    began_s = time.process_time()
    kept = [sealing.sealed(key, nonce, BODY, "p", 1) for nonce in nonces]
    sealed_s = time.process_time() - began_s
    began_s = time.process_time()
    for body in kept:
        sealing.opened(key, body, "p", 1)
    opened_s = time.process_time() - began_s
    return {"seal_us": sealed_s / ALONE * 1e6, "open_us": opened_s / ALONE * 1e6}


async def post(service: QueueService, name: str) -> None:
    await service.app.messages.post(CONTEXT, name, CLIENT, [NewMessage(BODY, 3600)] * BATCH, 4000)


async def read(service: QueueService, name: str) -> None:
    found = await service.app.messages.page(CONTEXT, name, MessageFilter(), None, BATCH)
    assert found[0].body == BODY


async def claim(service: QueueService, name: str) -> None:
    taken = await service.app.claims.take(CONTEXT, name, 300, 60, BATCH)
    assert taken is not None
    assert taken.messages[0].body == BODY
    await service.app.claims.release(CONTEXT, name, claim_text(taken.id))


Call = Callable[[QueueService, str], Awaitable[None]]
CALLS: dict[str, Call] = {"post": post, "list": read, "claim and release": claim}


async def measure(service: QueueService, call: Call, turns: int) -> dict[str, dict[str, float]]:
    """By queue: median milliseconds of a call, and microseconds of process time a message."""
    took: dict[str, list[tuple[float, float]]] = {"plain": [], "sealed": []}
    for _ in range(turns):
        for name, values in took.items():
            began_s, began_cpu_s = time.perf_counter(), time.process_time()
            await call(service, name)
            values.append((time.perf_counter() - began_s, time.process_time() - began_cpu_s))
    return {
        name: {
            "median_ms": statistics.median(wall for wall, _ in values) * 1000,
            "cpu_us_per_message": statistics.median(cpu for _, cpu in values) / BATCH * 1e6,
        }
        for name, values in took.items()
    }


async def bench(turns: int, folder: Path) -> dict[str, Any]:
    service = build(
        QueueConfig(sweep_interval_s=3600),
        SqliteDatabase(folder / "queue.db", MIGRATIONS, clock=SystemClock(), exclusive=True),
        clock=SystemClock(),
        random=os.urandom,
        sealer=Sealer(lambda: MASTER, os.urandom),
    )
    await service.start()
    try:
        await service.app.queues.create(CONTEXT, "plain", {})
        await service.app.queues.create(CONTEXT, "sealed", {"_enable_encrypt_messages": True})
        found: dict[str, Any] = {"alone": alone()}
        for name, call in CALLS.items():
            found[name] = await measure(service, call, turns)
            plain, sealed = found[name]["plain"], found[name]["sealed"]
            found[name]["ratio"] = sealed["median_ms"] / plain["median_ms"]
            found[name]["more_cpu_us_per_message"] = (
                sealed["cpu_us_per_message"] - plain["cpu_us_per_message"]
            )
    finally:
        await service.stop()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=400)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(bench(options.turns, Path(folder)))
    single = found["alone"]
    print(f"one body of 140 bytes: sealed in {single['seal_us']:.1f} us, "
          f"opened in {single['open_us']:.1f} us")  # fmt: skip
    for name in CALLS:
        plain, sealed = found[name]["plain"], found[name]["sealed"]
        print(
            f"{name:<18} plain {plain['median_ms']:.3f} ms, sealed {sealed['median_ms']:.3f} ms: "
            f"{found[name]['ratio']:.2f} times; "
            f"{found[name]['more_cpu_us_per_message']:+.1f} us of CPU a message"
        )
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
