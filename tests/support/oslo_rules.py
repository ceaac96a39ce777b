"""oslo.policy as the measure of our rules: the same set, caller and target, asked of it."""

import logging
import warnings
from collections.abc import Mapping
from typing import Any

from transom.runtime.auth.context import Context

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its dependencies' own
    from oslo_config import cfg
    from oslo_policy import _parser, policy

for noisy in ("oslo_policy._parser", "oslo_policy.policy"):
    logging.getLogger(noisy).disabled = True


class Oslo:
    """Answers what oslo.policy's Enforcer answers."""

    def __init__(self, texts: Mapping[str, Any]) -> None:
        conf = cfg.ConfigOpts()
        conf([])
        self._enforcer = policy.Enforcer(conf, use_conf=False, default_rule="default")
        rules = {name: _parser.parse_rule(text) for name, text in texts.items()}
        self._enforcer.set_rules(policy.Rules(rules, "default"), use_conf=False)

    def holds(self, name: str, context: Context, target: Mapping[str, Any]) -> bool:
        return bool(self._enforcer.enforce(name, target, credentials(context)))


def credentials(context: Context) -> dict[str, Any]:
    """As oslo.context makes them, but that what is empty is not there at all: oslo.policy takes
    an attribute that is None for equal to the text `None`."""
    token = {
        "user": {"id": context.user_id, "domain": {"id": context.user_domain_id}},
        "project": {"id": context.project_id, "domain": {"id": context.project_domain_id}},
        "domain": {"id": context.domain_id},
    }
    shown = {
        "user_id": context.user_id,
        "user_domain_id": context.user_domain_id,
        "project_id": context.project_id,
        "project_domain_id": context.project_domain_id,
        "domain_id": context.domain_id,
        "system_scope": "all" if context.system else "",
    }
    return {
        **_present(shown),
        "token": _present(token),
        "roles": sorted(context.roles),
        "is_admin": "admin" in context.roles,
        "is_admin_project": context.is_admin_project,
    }


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    kept = {
        name: _present(value) if isinstance(value, Mapping) else value
        for name, value in values.items()
    }
    return {name: value for name, value in kept.items() if value}
