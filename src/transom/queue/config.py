# SPDX-License-Identifier: Apache-2.0
"""The section `[queue]`: limits and defaults, named after Zaqar's `[transport]` options."""

from dataclasses import dataclass

from transom.errors import ConfigError
from transom.runtime.config import option


@dataclass(frozen=True, slots=True)
class QueueConfig:
    """Limits and defaults of the queue."""

    policy_file: str = option(
        "",
        "access rules that differ from the defaults (YAML; a relative path is below the data "
        "folder); empty: policy/queue.yaml if it is there",
    )
    max_queues_per_page: int = option(20, "most queues in one answer", least=1, most=1000)
    max_messages_per_page: int = option(
        20, "most messages in one answer, listed or asked for by ids", least=1, most=1000
    )
    max_messages_per_claim: int = option(
        20, "most messages that one claim or pop takes", least=1, most=1000
    )
    max_messages_per_post: int = option(
        1000, "most messages in one request to post", least=1, most=10_000
    )
    max_queue_metadata_bytes: int = option(
        65_536, "largest metadata document of a queue", unit="bytes", least=2
    )
    max_messages_post_bytes: int = option(
        262_144, "largest request to post messages", unit="bytes", least=2
    )
    max_message_ttl_s: int = option(1_209_600, "longest life of a message", unit="s", least=60)
    max_message_delay_s: int = option(900, "longest delay of a message", unit="s", least=0)
    max_claim_ttl_s: int = option(43_200, "longest life of a claim", unit="s", least=60)
    max_claim_grace_s: int = option(43_200, "longest grace of a claim", unit="s", least=60)
    default_message_ttl_s: int = option(3600, "life of a message without `ttl`", unit="s", least=60)
    default_message_delay_s: int = option(
        0, "delay of a message without `delay`", unit="s", least=0
    )
    default_claim_ttl_s: int = option(300, "life of a claim without `ttl`", unit="s", least=60)
    default_claim_grace_s: int = option(60, "grace of a claim without `grace`", unit="s", least=60)
    delete_needs_claim_ids: bool = option(
        False, "refuse to delete messages by `ids` without `claim_ids`"
    )
    sweep_interval_s: float = option(
        1.0, "pause between two sweeps of what has expired", unit="s", least=0.05, most=3600
    )
    sweep_batch: int = option(
        1000, "most rows that one transaction of the sweep removes", least=1, most=100_000
    )

    def __post_init__(self) -> None:
        """Raises: ConfigError for a default that every request would be refused for."""
        for default, most in (
            ("default_message_ttl_s", "max_message_ttl_s"),
            ("default_message_delay_s", "max_message_delay_s"),
            ("default_claim_ttl_s", "max_claim_ttl_s"),
            ("default_claim_grace_s", "max_claim_grace_s"),
        ):
            value, bound = getattr(self, default), getattr(self, most)
            if value > bound:
                raise ConfigError(f"[queue] {default} is {value}, above {most}, which is {bound}")
