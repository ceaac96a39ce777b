# SPDX-License-Identifier: Apache-2.0
"""DuckDB in memory, its indexes on what single changes look for; a change by SQL written for it.

Rows come in by a file, its fastest way from text.
"""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import duckdb
from answering import Row, serve

SCHEMA = """
create table servers (vm text, tenant text);
create table ports (port text, vm text, net text);
create table allowed (tenant text, net text);
"""
INDEXES = """
create index servers_vm on servers (vm);
create index servers_tenant on servers (tenant);
create index ports_vm on ports (vm);
create index ports_port on ports (port);
create index allowed_both on allowed (tenant, net);
"""
FIRST = """
select distinct s.vm from servers s join ports p on p.vm = s.vm
where not exists (select 1 from allowed a where a.tenant = s.tenant and a.net = p.net)
"""
SECOND = """
select distinct s.vm, s.tenant from servers s
join ports p on p.vm = s.vm join ports q on q.vm = s.vm where p.net <> q.net
"""
OF_PORT = """
select s.vm from servers s where s.vm = $1
and not exists (select 1 from allowed a where a.tenant = s.tenant and a.net = $2)
"""
OF_ALLOWED = """
select distinct s.vm from servers s join ports p on p.vm = s.vm where s.tenant = $1 and p.net = $2
"""
OF_CHANGED = """
select distinct s.vm from changed c join servers s on s.vm = c.vm
where not exists (select 1 from allowed a where a.tenant = s.tenant and a.net = c.net)
"""


class DuckDb:
    version = f"DuckDB {duckdb.__version__}"

    def __init__(self) -> None:
        self._link = duckdb.connect(":memory:")
        self._link.execute(SCHEMA)

    def load(self, table: str, rows: Iterable[Row]) -> None:
        self._copy(table, rows)

    def _copy(self, table: str, rows: Iterable[Row]) -> None:
        handle, name = tempfile.mkstemp(dir="/dev/shm")
        with os.fdopen(handle, "w") as file:
            file.writelines(",".join(row) + "\n" for row in rows)
        self._link.execute(f"copy {table} from '{name}' (format csv, header false, quote '')")
        Path(name).unlink()

    def loaded(self) -> None:
        self._link.execute(INDEXES)

    def _listed(self, statement: str, values: tuple[str, ...] = ()) -> list[str]:
        return [row[0] for row in self._link.execute(statement, values).fetchall()]

    def first(self) -> list[str]:
        return self._listed(FIRST)

    again = first

    def second(self) -> list[Row]:
        return self._link.execute(SECOND).fetchall()

    def select(self, vm: str) -> list[Row]:
        return self._link.execute("select port, net from ports where vm = $1", (vm,)).fetchall()

    def insert(self, port: str, vm: str, net: str) -> list[str]:
        self._link.execute("insert into ports values ($1, $2, $3)", (port, vm, net))
        return self._listed(OF_PORT, (vm, net))

    def remove(self, port: str, vm: str, net: str) -> None:
        self._link.execute("delete from ports where port = $1", (port,))

    def forbid(self, tenant: str, net: str) -> list[str]:
        self._link.execute("delete from allowed where tenant = $1 and net = $2", (tenant, net))
        return self._listed(OF_ALLOWED, (tenant, net))

    def allow(self, tenant: str, net: str) -> None:
        self._link.execute("insert into allowed values ($1, $2)", (tenant, net))

    def what_if(self, ports: list[Row]) -> list[str]:
        self._link.execute("begin")
        self._link.execute("create temp table changed (port text, vm text, net text)")
        self._copy("changed", ports)
        self._link.execute("insert into ports select * from changed")
        found = self._listed(OF_CHANGED)
        self._link.execute("rollback")
        return found


serve(DuckDb())
