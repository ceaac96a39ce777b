# SPDX-License-Identifier: Apache-2.0
"""What others may see of keys: the access rules. It publishes no table."""

from transom.runtime.auth.declared import AccessRule

SOURCE = "keys"


def _of_admin(name: str, meaning: str, operation: str) -> AccessRule:
    return AccessRule(name, "rule:admin_required", meaning, (operation,))


DEFAULT_RULES = (
    AccessRule("admin_required", "role:admin", "Who says which parties and groups there are."),
    _of_admin("keys:list", "List parties.", "GET /v1/keys"),
    _of_admin("keys:get", "Show a party, never its key.", "GET /v1/keys/{name}"),
    _of_admin("keys:set", "Give a party its long-term key.", "PUT /v1/keys/{name}"),
    _of_admin("keys:delete", "Remove a party.", "DELETE /v1/keys/{name}"),
    _of_admin("groups:list", "List groups that were registered.", "GET /v1/groups"),
    _of_admin("groups:get", "Show a group's members.", "GET /v1/groups/{name}"),
    _of_admin("groups:set", "Register a group, or change its members.", "PUT /v1/groups/{name}"),
    _of_admin("groups:delete", "Remove a group with its keys.", "DELETE /v1/groups/{name}"),
)
"""What parties ask for themselves (tickets, keys of groups, certificates) is guarded by their
signature, and no token."""
