# SPDX-License-Identifier: Apache-2.0
"""Other people's suites as a campaign: tempest's listed tests, with those that wait for minutes."""

import tempfile
from pathlib import Path

from proof.outcome import Outcome
from support.stack import running
from support.tempest import listed, prepared, run

SUITES = ("identity_with_accounts", "queue_with_accounts", "queue_slow_with_accounts")
OWN_USERS = "identity_with_dynamic_credentials"


def tempest(seed: int, rounds: int) -> Outcome:
    """All lists, so many times on one data folder. There is nothing to draw from the seed."""
    outcome = Outcome(0)
    with tempfile.TemporaryDirectory() as place, running(Path(place) / "data") as stack:
        accounts = prepared(stack, Path(place) / "accounts")
        dynamic = prepared(stack, Path(place) / "dynamic", dynamic=True)
        for _ in range(rounds):
            for suite in (*SUITES, OWN_USERS):
                names = listed(suite)
                found = run(dynamic if suite == OWN_USERS else accounts, names, within_s=900)
                outcome.rounds += found.ran
                if not found.succeeded or (found.ran, found.skipped) != (len(names), 0):
                    outcome.faults.append(f"{suite}: {found.printed[-2000:]}")
    return outcome
