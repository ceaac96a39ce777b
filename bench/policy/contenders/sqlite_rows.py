# SPDX-License-Identifier: Apache-2.0
"""SQLite in memory, with the indexes that the questions need; a change by SQL written for it."""

import sqlite3
from collections.abc import Iterable

from answering import Row, serve

SCHEMA = """
create table servers (vm text primary key, tenant text) without rowid;
create table ports (port text primary key, vm text, net text) without rowid;
create table allowed (tenant text, net text, primary key (tenant, net)) without rowid;
create table changed (port text, vm text, net text);
"""
INDEXES = """
create index servers_tenant on servers (tenant);
create index ports_vm on ports (vm, net);
analyze;
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
select s.vm from servers s where s.vm = ?
and not exists (select 1 from allowed a where a.tenant = s.tenant and a.net = ?)
"""
OF_ALLOWED = """
select distinct s.vm from servers s join ports p on p.vm = s.vm where s.tenant = ? and p.net = ?
"""
OF_CHANGED = """
select distinct s.vm from changed c join servers s on s.vm = c.vm
where not exists (select 1 from allowed a where a.tenant = s.tenant and a.net = c.net)
"""


class Sqlite:
    version = f"SQLite {sqlite3.sqlite_version}"

    def __init__(self) -> None:
        self._link = sqlite3.connect(":memory:", isolation_level=None)
        self._link.executescript(SCHEMA)

    def load(self, table: str, rows: Iterable[Row]) -> None:
        marks = "?, ?, ?" if table == "ports" else "?, ?"
        self._link.execute("begin")
        self._link.executemany(f"insert into {table} values ({marks})", rows)
        self._link.execute("commit")

    def loaded(self) -> None:
        self._link.executescript(INDEXES)

    def _listed(self, statement: str, values: tuple[str, ...] = ()) -> list[str]:
        return [row[0] for row in self._link.execute(statement, values)]

    def first(self) -> list[str]:
        return self._listed(FIRST)

    again = first

    def second(self) -> list[Row]:
        return self._link.execute(SECOND).fetchall()

    def select(self, vm: str) -> list[Row]:
        return self._link.execute("select port, net from ports where vm = ?", (vm,)).fetchall()

    def insert(self, port: str, vm: str, net: str) -> list[str]:
        self._link.execute("insert into ports values (?, ?, ?)", (port, vm, net))
        return self._listed(OF_PORT, (vm, net))

    def remove(self, port: str, vm: str, net: str) -> None:
        self._link.execute("delete from ports where port = ?", (port,))

    def forbid(self, tenant: str, net: str) -> list[str]:
        self._link.execute("delete from allowed where tenant = ? and net = ?", (tenant, net))
        return self._listed(OF_ALLOWED, (tenant, net))

    def allow(self, tenant: str, net: str) -> None:
        self._link.execute("insert into allowed values (?, ?)", (tenant, net))

    def what_if(self, ports: list[Row]) -> list[str]:
        self._link.execute("begin")
        self._link.executemany("insert into ports values (?, ?, ?)", ports)
        self._link.executemany("insert into changed values (?, ?, ?)", ports)
        found = self._listed(OF_CHANGED)
        self._link.execute("rollback")
        return found


serve(Sqlite())
