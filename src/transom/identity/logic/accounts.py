# SPDX-License-Identifier: Apache-2.0
"""`accounts.yaml`: users in projects of their own that exist before a test suite runs.

Source: https://docs.openstack.org/tempest/latest/configuration.html#pre-provisioned-credentials
"""

from collections.abc import Sequence
from dataclasses import dataclass

import yaml

PREFIX = "tempest"


@dataclass(frozen=True, slots=True)
class SuiteAccount:
    """User and project have one name, in the domain named so."""

    name: str
    password: str
    roles: tuple[str, ...]
    domain_name: str


def account_names(count: int) -> list[str]:
    return [f"{PREFIX}-{number}" for number in range(1, count + 1)]


def accounts_yaml(accounts: Sequence[SuiteAccount]) -> str:
    """The file's text."""
    entries = [
        {
            "username": account.name,
            "password": account.password,
            "project_name": account.name,
            "user_domain_name": account.domain_name,
            "project_domain_name": account.domain_name,
            "roles": list(account.roles),
        }
        for account in accounts
    ]
    return yaml.safe_dump(entries, sort_keys=False)
