# SPDX-License-Identifier: Apache-2.0
"""The feed's machines over a bad bus, for long; `support/feed_world` says what is checked."""

from proof.outcome import Outcome
from support.feed_world import Divergence, campaign


def feed(seed: int, steps: int) -> Outcome:
    """Ends at the first divergence, naming the episode's seed, with which `campaign(1, seed)` shows
    it again.
    """
    try:
        episodes, taken = campaign(steps, seed)
    except Divergence as divergence:
        return Outcome(steps, [" ".join([str(divergence), *divergence.__notes__])])
    return Outcome(taken, figures={"episodes": episodes})
