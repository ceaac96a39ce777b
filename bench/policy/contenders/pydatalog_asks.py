# SPDX-License-Identifier: Apache-2.0
"""pyDatalog: everything is asked anew, from the top down; a change is asked about by its server."""

from collections.abc import Iterable
from importlib.metadata import version

from answering import Row, serve
from pyDatalog import pyDatalog

RULES = """
of_allowed(V, T, N) <= servers(V, T) & ports(P, V, N)
error(V) <= servers(V, T) & ports(P, V, N) & ~allowed(T, N)
bridged(V, T) <= servers(V, T) & ports(P, V, N) & ports(Q, V, M) & (N != M)
"""


class PyDatalog:
    version = f"pyDatalog {version('pyDatalog')}"

    def load(self, table: str, rows: Iterable[Row]) -> None:
        for row in rows:
            pyDatalog.assert_fact(table, *row)

    def loaded(self) -> None:
        pyDatalog.load(RULES)

    def first(self) -> list[str]:
        return [row[0] for row in self._listed("error(V)")]

    again = first

    def second(self) -> list[Row]:
        return self._listed("bridged(V, T)")

    def _listed(self, question: str) -> list[Row]:
        found = pyDatalog.ask(question)
        return list(found.answers) if found else []

    def select(self, vm: str) -> list[Row]:
        return self._listed(f"ports(P, '{vm}', N)")

    def insert(self, port: str, vm: str, net: str) -> list[str]:
        pyDatalog.assert_fact("ports", port, vm, net)
        return [vm] if self._listed(f"error('{vm}')") else []

    def remove(self, port: str, vm: str, net: str) -> None:
        pyDatalog.retract_fact("ports", port, vm, net)

    def forbid(self, tenant: str, net: str) -> list[str]:
        pyDatalog.retract_fact("allowed", tenant, net)
        found = self._listed(f"of_allowed(V, '{tenant}', '{net}')")
        return [row[0] for row in found]

    def allow(self, tenant: str, net: str) -> None:
        pyDatalog.assert_fact("allowed", tenant, net)

    def what_if(self, ports: list[Row]) -> list[str]:
        found = [vm for row in ports for vm in self.insert(*row)]
        for row in ports:
            self.remove(*row)
        return found


serve(PyDatalog())
