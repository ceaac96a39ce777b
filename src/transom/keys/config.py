# SPDX-License-Identifier: Apache-2.0
"""The section `[keys]`: how long what the key server gives out is good for."""

from dataclasses import dataclass

from transom.errors import ConfigError
from transom.runtime.config import option


@dataclass(frozen=True, slots=True)
class KeysConfig:
    """The key server of message security."""

    policy_file: str = option(
        "",
        "Access rules that differ from the defaults (YAML; a relative path is below the data "
        "folder). Empty: policy/keys.yaml if it is there.",
    )
    ticket_ttl_s: int = option(
        3600,
        "How long tickets are good for, and certificates of parties with a long-term key.",
        unit="s",
        least=60,
        most=86_400,
    )
    group_key_ttl_s: int = option(
        900, "How long messages are sealed under one key of a group.", unit="s", least=60,
        most=86_400,
    )  # fmt: skip
    group_key_early_s: int = option(
        120, "So long before a group's key ends the next one is handed out.", unit="s", least=1
    )
    group_key_grace_s: int = option(
        600,
        "So long after its end a group's key can still be asked for by its generation.",
        unit="s",
        least=0,
        most=86_400,
    )
    retention_s: int = option(
        604_800,
        "How long durable messages may lie before they are read: so long after their tickets can "
        "old keys be had, and are authorities believed.",
        unit="s",
        least=0,
        most=366 * 86_400,
    )
    certificate_ttl_s: int = option(
        365 * 86_400,
        "How long a certificate of an enrolled party without a long-term key is good for.",
        unit="s",
        least=3600,
        most=10 * 366 * 86_400,
    )
    overlap_s: int = option(
        86_400,
        "How long a party's former key is accepted after a rotation: within this time its new "
        "file has to be in its place.",
        unit="s",
        least=0,
        most=366 * 86_400,
    )
    skew_s: int = option(
        300,
        "How far a request's time may be from ours, before and after; so long its nonce is kept.",
        unit="s",
        least=1,
        most=3600,
    )
    made_groups_max: int = option(
        200,
        "Most groups that one party may bring to be at a time by sending to names that only a "
        "pattern fits.",
        least=1,
        most=100_000,
    )
    max_page: int = option(100, "Most parties or groups in one answer.", least=1, most=1000)

    def __post_init__(self) -> None:
        """Raises: ConfigError for a key that would be replaced before it is used."""
        if self.group_key_early_s >= self.group_key_ttl_s:
            raise ConfigError(
                f"[keys] group_key_early_s is {self.group_key_early_s}, not below group_key_ttl_s, "
                f"which is {self.group_key_ttl_s}"
            )
