# SPDX-License-Identifier: Apache-2.0
"""From a filter of users or projects to the text of a condition and its parameters."""

from transom.identity.model import Filter


def conditions(only: Filter) -> tuple[str, list[object]]:
    """The condition holds for every row if nothing is asked for."""
    wanted: dict[str, object] = {}
    if only.name is not None:
        wanted["name = ?"] = only.name
    if only.enabled is not None:
        wanted["enabled = ?"] = int(only.enabled)
    if only.domain_id is not None:
        wanted["domain_id = ?"] = only.domain_id
    return " and ".join(wanted) or "1 = 1", list(wanted.values())
