# SPDX-License-Identifier: Apache-2.0
"""Options of the embedded identity service."""

from dataclasses import dataclass

from transom.identity.model import TOKEN_TTL_MOST_S
from transom.runtime.config import option


@dataclass(frozen=True, slots=True)
class IdentityConfig:
    """Embedded identity. It is not used where [keystone] auth_url names a real Keystone."""

    policy_file: str = option(
        "",
        "Access rules that differ from the defaults (YAML; a relative path is below the data "
        "folder). Empty: policy/identity.yaml if it is there.",
    )
    region: str = option("RegionOne", "Region of all endpoints in the catalogue.")
    token_ttl_s: int = option(
        14_400, "How long a token lives.", unit="seconds", least=60, most=TOKEN_TTL_MOST_S
    )
    password_cost_log2: int = option(
        15,
        "Cost of hashing a password (scrypt's N as a power of two); 15 takes 32 MiB and some "
        "100 ms. Stored passwords keep the cost they were hashed with.",
        least=10,
        most=20,
    )
