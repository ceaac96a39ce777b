# SPDX-License-Identifier: Apache-2.0
"""Requests drawn from the OpenAPI documents, by an admin and a member; `support/fuzz` says what is
a fault. The rounds are seconds."""

import tempfile
from pathlib import Path

from proof.outcome import Outcome
from support.fuzz import Port
from support.stack import running


def described(seed: int, seconds: int) -> Outcome:
    with (
        tempfile.TemporaryDirectory(prefix="transom-proof-") as folder,
        running(Path(folder) / "data") as stack,
    ):
        found = Port(stack).drawn(seed, seconds)
    figures = {
        "requests": found.requests,
        "operations": len(found.operations),
        "succeeded": len(found.reached),
    }
    return Outcome(seconds, found.faults, figures)
