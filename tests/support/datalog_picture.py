# SPDX-License-Identifier: Apache-2.0
"""What an engine holds, down to the last object, as texts that can be compared."""

from collections.abc import Mapping, Set
from fractions import Fraction
from typing import Any

from transom.policy.datalog.core import CoreRule
from transom.policy.datalog.engine.engine import Engine
from transom.policy.datalog.engine.readers import Kept
from transom.policy.datalog.engine.tables import Table
from transom.policy.datalog.values import Truth

OUT_OF_SIGHT = {
    "_estimates", "_touched_most", "_trial", "asked", "heap", "interned", "meter",
    "matches", "plan", "planned_rows", "rank", "rule", "traced", "trying",
}  # fmt: skip
"""What may stay: guesses that only make plans, and what is bounded. And what
never changes."""


class Picture:
    """Texts of all that hangs on an engine; orders of dictionaries and lists are left out, and
    tables with nothing in them, which a trial may tidy away at its end.

    `parts`: tables and rules, by what others call them.
    """

    def __init__(self, engine: Engine) -> None:
        self.parts: dict[str, str] = {}
        self.whole = self.inside(engine)

    def lines(self) -> set[str]:
        return {self.whole, *(f"{name}: {text}" for name, text in self.parts.items())}

    def of(self, thing: Any) -> str:
        if isinstance(thing, Table | Kept):
            name = f"{type(thing).__name__} {thing.id if isinstance(thing, Table) else thing.name}"
            if name not in self.parts:
                self.parts[name] = "..."
                self.parts[name] = self.inside(thing)
            return name
        if isinstance(thing, Mapping):
            if thing and not any(value is not None for value in thing.values()):
                return self.of(list(thing))
            parts = [
                f"{self.of(key)}: {self.of(value)}"
                for key, value in thing.items()
                if not (isinstance(value, Table) and value.idle)
            ]
            return f"{{{', '.join(sorted(parts))}}}"
        if isinstance(thing, list | Set):
            return f"[{', '.join(sorted(map(self.of, thing)))}]"
        if type(thing) is tuple:
            return f"({', '.join(map(self.of, thing))})"
        if isinstance(thing, Fraction | CoreRule):
            return str(thing) if isinstance(thing, Fraction) else thing.name
        if thing is None or isinstance(thing, str | int | float | tuple | Truth):
            return repr(thing)
        if callable(thing) or not type(thing).__module__.startswith("transom."):
            return "callable" if callable(thing) else type(thing).__name__
        return self.inside(thing)

    def inside(self, thing: Any) -> str:
        names = [*getattr(thing, "__dict__", ()), *slots(type(thing))]
        seen = [name for name in names if name not in OUT_OF_SIGHT]
        parts = [f"{name}={self.of(getattr(thing, name, None))}" for name in seen]
        return f"{type(thing).__name__}({', '.join(parts)})"


def picture(engine: Engine) -> set[str]:
    return Picture(engine).lines()


def slots(kind: type) -> list[str]:
    return [name for each in kind.__mro__ for name in getattr(each, "__slots__", ())]
