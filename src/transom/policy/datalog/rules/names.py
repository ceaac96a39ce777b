# SPDX-License-Identifier: Apache-2.0
"""Names of policies and tables: which table of all a name in a text is, and back.

`policy:table`, `policy:table+`, `policy:execute[nova:servers.pause]`.
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice
from typing import Final

from transom.policy.datalog.core import TableId
from transom.policy.datalog.language.syntax import Atom, Modal, TableName

BUILTIN_POLICY: Final = "builtin"
TIME_POLICY: Final = "time"
TIME_TABLES: Final = dict.fromkeys(("now", "minute", "hour", "day"), ("t",))
"""Each has one row: the time, cut to so much. Whoever drives the engine sets them."""
WORDS: Final = frozenset({"execute", "insert", "delete", "not", "NOT", "true", "false", "null"})
NAME: Final = re.compile(r"[A-Za-z_.][A-Za-z0-9_.]*")
PART: Final = r"[A-Za-z_](?:[A-Za-z0-9_.]*[A-Za-z0-9_])?"
WRITTEN: Final = rf"{PART}(?::{PART})*[+-]?"
FACTS: Final = re.compile(rf"(?!(?:not|NOT|now)\Z)(?:{WRITTEN}|execute\[{WRITTEN}\])")
"""Tables of facts: names that a text can say."""
MODALS: Final = frozenset(modal.value for modal in Modal)
LOOKED_AT_MOST: Final = 1000
COMPARED_MOST: Final = 20
"""Names among which one that was meant is looked for."""


def policy_fault(name: str) -> str | None:
    """Why a policy cannot be called so; None if it can."""
    if name in (BUILTIN_POLICY, TIME_POLICY):
        return f"`{name}` is a policy of the language's own"
    if name in WORDS:
        return f"`{name}` is a word of the language"
    if not NAME.fullmatch(name):
        return f"{name!r} is no name: letters, digits, `_` and `.`, and no digit first"
    return None


def table_fault(name: str, *, facts: bool = False) -> str | None:
    """Why a table cannot be called so; None if it can. The engine's own have a `#`.

    `facts`: of a policy's own a text has to be able to say the facts.
    """
    if facts and not FACTS.fullmatch(name):
        return f"{name!r} is no name that a rule can say"
    return None if name and "#" not in name else f"{name!r} is no name of a table"


def table_id(policy: str, name: TableName, modal: Modal | None = None) -> TableId:
    """The table that `name` is in a text of `policy`."""
    if is_now(name) and modal is None:
        return TableId(f"{TIME_POLICY}:now")
    if modal is not None:
        return TableId(f"{policy}:{modal}[{name}]")
    return TableId(f"{name.policy or policy}:{name.table}{name.sign}")


def is_now(name: TableName) -> bool:
    """`now` and `builtin:now`, which Congress has as a builtin: here a table."""
    return name.table == "now" and name.policy in (None, BUILTIN_POLICY) and not name.sign


def policy_of(table: TableId) -> str:
    return table.partition(":")[0]


def atom_of(table: TableId, policy: str) -> Atom:
    """The table's name as a text of `policy` writes it, without arguments."""
    owner, _, rest = table.partition(":")
    modal, prefix = None, None if owner == policy else owner
    word, _, inner = rest[:-1].partition("[")
    if rest.endswith("]") and inner and word in MODALS:
        owner, colon, name = inner.partition(":")
        modal, prefix, rest = Modal(word), owner if colon else None, name or inner
    sign = rest[-1] if rest[-1] in "+-" else ""
    return Atom(TableName(prefix, rest.removesuffix(sign), sign), modal=modal)


def meant(name: str, known: Iterable[str]) -> str:
    """`did you mean ...?` if one of `known` is like `name`, else nothing."""
    among = (other for other in islice(known, LOOKED_AT_MOST) if _may_be_like(name, other))
    found = get_close_matches(name, list(islice(among, COMPARED_MOST)), n=1)
    return f"did you mean `{found[0]}`?" if found else ""


def _may_be_like(name: str, other: str) -> bool:
    """Cheap, so that a text with thousands of slips is told soon."""
    return -3 < len(name) - len(other) < 3 and (name[:1] == other[:1] or name[-1:] == other[-1:])
