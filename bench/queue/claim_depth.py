# SPDX-License-Identifier: Apache-2.0
"""A claim on a queue with a million waiting messages against one with a thousand.

Also with a hundred thousand messages under live claims at the head, with as many whose claims have
all ended at once, and beside them listing past a million messages of one's own. Medians over many
turns of claiming 20 and releasing them, on one file, without the door.

    python bench/queue/claim_depth.py [--deep 1000000] [--json FILE]
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from transom.queue.config import QueueConfig
from transom.queue.model import ClientId, MessageFilter, NewMessage, claim_text
from transom.queue.service import MIGRATIONS, QueueService, build
from transom.runtime.auth.context import Context
from transom.runtime.clock import SystemClock
from transom.runtime.db.sqlite import SqliteDatabase

CONTEXT = Context("", project_id="p", roles=frozenset({"member"}))
CLIENT, OTHER = ClientId(b"c" * 16), ClientId(b"o" * 16)
BODY = b'"' + b"x" * 138 + b'"'
TURNS = 300
GOAL = 1.3


class Skewed:
    """The system's clock, which the bench may move on."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self.ahead_ms = 0

    def now_ms(self) -> int:
        return self._clock.now_ms() + self.ahead_ms

    def monotonic_s(self) -> float:
        return self._clock.monotonic_s()


async def fill(service: QueueService, name: str, number: int) -> float:
    """Posts 1000 at a time, 8 at once; seconds it took."""
    began_s = time.perf_counter()
    new = [NewMessage(BODY, 86_400)] * 1000
    for _ in range(0, number, 8000):
        await asyncio.gather(
            *(service.app.messages.post(CONTEXT, name, CLIENT, new, 200_000) for _ in range(8))
        )
    return time.perf_counter() - began_s


async def turn(service: QueueService, name: str) -> float:
    """Milliseconds of one claim of 20; they are released again."""
    began_s = time.perf_counter()
    claim = await service.app.claims.take(CONTEXT, name, 3600, 60, 20)
    took_ms = (time.perf_counter() - began_s) * 1000
    assert claim is not None
    assert len(claim.messages) == 20
    await service.app.claims.release(CONTEXT, name, claim_text(claim.id))
    return took_ms


async def measure(service: QueueService, names: list[str]) -> dict[str, float]:
    """Median of a claim, the queues by turns so that both meet the same noise."""
    took: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(TURNS):
        for name in names:
            took[name].append(await turn(service, name))
    return {name: statistics.median(values) for name, values in took.items()}


async def bench(deep: int, folder: Path) -> dict[str, Any]:
    clock = Skewed()
    config = QueueConfig(sweep_interval_s=3600)
    service = build(
        config,
        SqliteDatabase(folder / "queue.db", MIGRATIONS, clock=clock),
        clock=clock,
        random=os.urandom,
    )
    await service.start()
    held = deep // 10
    filled_s = await fill(service, "deep", deep)
    for name in ("shallow", "held"):
        await fill(service, name, 8000)
    for _ in range(7):
        await service.app.messages.pop(CONTEXT, "shallow", 20)
    while (await service.app.queues.stats(CONTEXT, "shallow")).total > 1000:
        await asyncio.gather(*(service.app.messages.pop(CONTEXT, "shallow", 20) for _ in range(50)))
    await fill(service, "held", held)
    for _ in range(0, held, 2000):
        await asyncio.gather(
            *(service.app.claims.take(CONTEXT, "held", 3600, 60, 20) for _ in range(100))
        )
    medians = await measure(service, ["shallow", "deep", "held"])
    began_s = time.perf_counter()
    everything = await service.app.messages.page(
        CONTEXT, "deep", MessageFilter(not_from=CLIENT), None, 10
    )
    own_s = time.perf_counter() - began_s
    assert everything == ()
    began_s = time.perf_counter()
    stats = await service.app.queues.stats(CONTEXT, "deep")
    stats_ms = (time.perf_counter() - began_s) * 1000
    assert stats.total >= deep
    clock.ahead_ms = 3_600_000
    first_ms = await turn(service, "held")
    ended = statistics.median([await turn(service, "held") for _ in range(50)])
    await service.stop()
    return {
        "deep": deep,
        "posted_per_s": round(deep / filled_s),
        "claim_20_ms": {name: round(value, 3) for name, value in medians.items()},
        "ratio_deep_to_shallow": round(medians["deep"] / medians["shallow"], 2),
        "ratio_held_to_shallow": round(medians["held"] / medians["shallow"], 2),
        "goal": GOAL,
        f"first_claim_after_{held}_ended_ms": round(first_ms, 2),
        "claims_while_they_come_back_ms": round(ended, 2),
        "list_past_all_own_s": round(own_s, 3),
        "stats_ms": round(stats_ms, 3),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deep", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(bench(options.deep, Path(folder)))
    text = json.dumps(result, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", "utf-8")
    return int(result["ratio_deep_to_shallow"] > GOAL or result["ratio_held_to_shallow"] > GOAL)


if __name__ == "__main__":
    sys.exit(main())
