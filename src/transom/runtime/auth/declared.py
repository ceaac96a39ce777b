# SPDX-License-Identifier: Apache-2.0
"""What a part says of its access rules: names, defaults, and what each of them guards.

Operators change rules by these names in a part's policy file; `docs/reference/rules.md` and
`transom config rules` are written from them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AccessRule:
    """One named rule.

    `text`: the default, in the language of `rule_language`. `operations`: what it guards, as
    "METHOD /path/of/{route}"; none for a rule that is there for others to refer to. `targets`: the
    attributes that may stand in `%(...)s`, beside which every other one is absent. `scope`: what
    the caller's token has to be for, if the operation needs one ("project").
    """

    name: str
    text: str
    meaning: str
    operations: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    scope: str = ""


def defaults(declared: Iterable[AccessRule]) -> Mapping[str, str]:
    """Name -> default text. Raises: ValueError for a name that is declared twice."""
    texts: dict[str, str] = {}
    for rule in declared:
        if rule.name in texts:
            raise ValueError(f"rule {rule.name!r} is declared twice")
        texts[rule.name] = rule.text
    return texts
