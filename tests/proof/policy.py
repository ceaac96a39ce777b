# SPDX-License-Identifier: Apache-2.0
"""Random programs and updates, the engine against the naive evaluator; what is checked says
`support/datalog_play`."""

from collections import Counter

from proof.outcome import Outcome
from support.datalog_least import told
from support.datalog_play import Play
from support.datalog_world import script


def programs(seed: int, rounds: int) -> Outcome:
    faults: list[str] = []
    figures: Counter[str] = Counter()
    for one in range(seed, seed + rounds):
        play = Play(script(one))
        try:
            play.run()
        except Exception as error:
            faults.append(told(script(one)) or f"seed {one}, the first time only: {error}")
        figures["transactions"] += play.transactions
        figures["answers"] += play.answers
    return Outcome(rounds, faults, dict(figures))
