# SPDX-License-Identifier: Apache-2.0
"""clingo: facts as text, the first question grounded with them; a port more is a step of its own.

A step adds and never takes away, so there is no `forbid` and no `what_if`,
and the first question is not asked again.
"""

from collections.abc import Iterable

import clingo
from answering import Row, serve

FIRST = "error(V) :- servers(V, T), ports(P, V, N), not allowed(T, N)."
SECOND = "bridged(V, T) :- servers(V, T), ports(P, V, N), ports(Q, V, M), N != M."
CHANGE = """
added(port, vm, net).
wrong(port, vm) :- added(port, vm, net), servers(vm, T), not allowed(T, net).
"""


class Clingo:
    version = f"clingo {clingo.__version__}"

    def __init__(self) -> None:
        self._control = clingo.Control(["--warn=none"])

    def load(self, table: str, rows: Iterable[Row]) -> None:
        facts = "".join('{}("{}").'.format(table, '","'.join(row)) for row in rows)
        self._control.add("base", [], facts)

    def loaded(self) -> None:
        self._control.ground([("base", [])])

    def _found(self, part: str, rule: str, name: str, arity: int) -> list[Row]:
        self._control.add(part, [], rule)
        self._control.ground([(part, [])])
        atoms = self._control.symbolic_atoms.by_signature(name, arity)
        return [tuple(one.string for one in atom.symbol.arguments) for atom in atoms]

    def first(self) -> list[str]:
        found = [row[0] for row in self._found("first", FIRST, "error", 1)]
        self._control.add("change", ["port", "vm", "net"], CHANGE)
        return found

    def second(self) -> list[Row]:
        return self._found("second", SECOND, "bridged", 2)

    def insert(self, port: str, vm: str, net: str) -> list[str]:
        words = [clingo.String(port), clingo.String(vm), clingo.String(net)]
        self._control.ground([("change", words)])
        wrong = clingo.Function("wrong", words[:2])
        return [vm] if self._control.symbolic_atoms[wrong] else []

    def remove(self, port: str, vm: str, net: str) -> None:
        pass


serve(Clingo())
