# SPDX-License-Identifier: Apache-2.0
"""Polars: a frame for each table; a change is a frame of one row, joined with the others."""

from collections.abc import Iterable

import polars
from answering import Row, serve
from polars import DataFrame, col

COLUMNS = {
    "servers": ["vm", "tenant"],
    "ports": ["port", "vm", "net"],
    "allowed": ["tenant", "net"],
}
PAIR = ["tenant", "net"]


def framed(table: str, rows: Iterable[Row]) -> DataFrame:
    columns = list(zip(*rows, strict=True))
    return DataFrame(dict(zip(COLUMNS[table], columns, strict=True)))


class Polars:
    version = f"Polars {polars.__version__}"

    def __init__(self) -> None:
        self._tables: dict[str, DataFrame] = {}

    def load(self, table: str, rows: Iterable[Row]) -> None:
        self._tables[table] = framed(table, rows)

    def loaded(self) -> None:
        pass

    def _wrong(self, ports: DataFrame) -> list[str]:
        """The servers in violation by these ports."""
        joined = ports.lazy().join(self._tables["servers"].lazy(), on="vm")
        found = joined.join(self._tables["allowed"].lazy(), on=PAIR, how="anti")
        vms: list[str] = found.select("vm").unique().collect()["vm"].to_list()
        return vms

    def first(self) -> list[str]:
        return self._wrong(self._tables["ports"])

    again = first

    def second(self) -> list[Row]:
        ports = self._tables["ports"].lazy()
        joined = self._tables["servers"].lazy().join(ports, on="vm").join(ports, on="vm")
        found = joined.filter(col("net") != col("net_right")).select("vm", "tenant").unique()
        return found.collect().rows()

    def select(self, vm: str) -> list[Row]:
        return self._tables["ports"].filter(col("vm") == vm).select("port", "net").rows()

    def insert(self, port: str, vm: str, net: str) -> list[str]:
        self._before = self._tables["ports"]
        self._tables["ports"] = self._before.vstack(framed("ports", [(port, vm, net)]))
        servers = self._tables["servers"].lazy().filter(col("vm") == vm)
        allowed = self._tables["allowed"].lazy().filter(col("net") == net)
        found: list[str] = servers.join(allowed, on="tenant", how="anti").collect()["vm"].to_list()
        return found

    def remove(self, port: str, vm: str, net: str) -> None:
        self._tables["ports"] = self._before

    def forbid(self, tenant: str, net: str) -> list[str]:
        self._before = self._tables["allowed"]
        gone = (col("tenant") == tenant) & (col("net") == net)
        self._tables["allowed"] = self._before.filter(~gone)
        ports = self._tables["ports"].lazy().filter(col("net") == net)
        servers = self._tables["servers"].lazy().filter(col("tenant") == tenant)
        vms: list[str] = (
            ports.join(servers, on="vm").select("vm").unique().collect()["vm"].to_list()
        )
        return vms

    def allow(self, tenant: str, net: str) -> None:
        self._tables["allowed"] = self._before

    def what_if(self, ports: list[Row]) -> list[str]:
        return self._wrong(framed("ports", ports))


serve(Polars())
