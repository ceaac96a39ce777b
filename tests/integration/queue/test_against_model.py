"""Random lives of queues, step by step beside a plain model of them; see `support/queue_life`.

A life's dice are hypothesis's, so a life that goes wrong is shortened to the steps that matter,
or those of a seed, which are the same each time. They are shorter on a server, where a step takes
many times longer. `make proof` has more and longer ones, on each engine.
"""

import asyncio
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.queue_life import live

STEPS = {"sqlite": 150, "shards": 150, "postgres": 60, "pools": 60}
EXAMPLES = {"sqlite": 15, "shards": 15, "postgres": 6, "pools": 6}


@pytest.mark.parametrize("seed", range(8))
async def test_every_answer_is_the_models(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr("transom.queue.app.messages.SCANNED_AT_ONCE", 5)
    await live(tmp_path, random.Random(seed), STEPS[engine])


def test_no_life_can_be_found_that_differs_from_the_models(engine: str) -> None:
    @settings(
        max_examples=EXAMPLES[engine],
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    @given(dice=st.randoms(use_true_random=False), steps=st.integers(1, 60))
    def differs(dice: random.Random, steps: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(live(Path(folder), dice, steps))

    differs()
