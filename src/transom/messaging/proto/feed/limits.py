# SPDX-License-Identifier: Apache-2.0
"""The times and bounds of a replica."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """`heartbeat_s` is the publisher's; `grace_s` is how long a late step may take to come.

    A retry waits from `retry_least_s`, doubling up to `retry_most_s`.
    """

    heartbeat_s: float = 1.0
    grace_s: float = 0.2
    ask_timeout_s: float = 5.0
    retry_least_s: float = 0.2
    retry_most_s: float = 10.0
    buffer_changes: int = 50_000
    since_sets: int = 256
    chunk_rows: int = 500

    @property
    def live_s(self) -> float:
        """How long a verification holds."""
        return 2 * self.heartbeat_s + self.grace_s
