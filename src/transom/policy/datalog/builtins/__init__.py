# SPDX-License-Identifier: Apache-2.0
"""Builtins: pure functions as literals of a body, one module a family.

Each function's docstring says the literal and what it gives in its first line, then when it fails
and an example that holds: `described` takes it apart for messages and for the reference.
Time is no builtin: `builtin:now(t)` reads a table.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from transom.policy.datalog.builtins.arguments import BuiltinError
from transom.policy.datalog.builtins.comparisons import COMPARISONS
from transom.policy.datalog.builtins.descriptions import Description, described
from transom.policy.datalog.builtins.networks import NETWORKS
from transom.policy.datalog.builtins.numbers import NUMBERS
from transom.policy.datalog.builtins.texts import TEXTS
from transom.policy.datalog.builtins.times import TIMES
from transom.policy.datalog.builtins.validation import VALIDATION
from transom.policy.datalog.core import Builtin

__all__ = ["BUILTINS", "FAMILIES", "BuiltinError", "Description", "described"]

FAMILIES: Final[Mapping[str, tuple[Builtin, ...]]] = MappingProxyType(
    {
        "Comparisons": COMPARISONS,
        "Numbers": NUMBERS,
        "Texts": TEXTS,
        "Dates and times": TIMES,
        "IP addresses and networks": NETWORKS,
        "Options of configurations": VALIDATION,
    }
)
BUILTINS: Final[Mapping[str, Builtin]] = MappingProxyType(
    {builtin.name: builtin for family in FAMILIES.values() for builtin in family}
)
