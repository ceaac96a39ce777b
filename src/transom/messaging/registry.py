# SPDX-License-Identifier: Apache-2.0
"""Who serves what, for a bus without a broker: the table of a registry, the views of a process.

Invariants:
1. Every change of the table has the next number; a view that applied changes 1..n of an epoch
   equals the table at n, and a view that misses one knows it and asks for the whole.
2. An entry that is not renewed leaves the table `lifetime_s` after its last renewal.
3. A process's registration of an older revision never replaces a newer one, in a table or among
   the views of several registries.

Pure: time is a number of seconds that the caller counts. The sockets are in `drivers/zmq`.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from transom.messaging.drivers.base import Address

CHANGES_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """What a process serves. It counts its revisions; the later one holds."""

    process: str
    revision: int
    addresses: tuple[Address, ...]
    renewed_s: float


@dataclass(frozen=True, slots=True)
class Change:
    """Change `number` of the table: what `process` serves now, or None where it has left.

    `revision`: the process's own; 0 from a registry of an older version, which is the only one.
    """

    number: int
    process: str
    addresses: tuple[Address, ...] | None
    revision: int = 0


class Directory:
    """Processes by address, pool by pool, in the order in which they came."""

    def __init__(self) -> None:
        self._served: dict[str, tuple[Address, ...]] = {}
        self._pools: dict[Address, dict[str, dict[str, None]]] = {}

    def put(self, process: str, addresses: Iterable[Address]) -> None:
        self.drop(process)
        served = tuple(dict.fromkeys(addresses))
        self._served[process] = served
        for address in served:
            pools = self._pools.setdefault(address.in_pool(""), {})
            pools.setdefault(address.pool, {})[process] = None

    def drop(self, process: str) -> bool:
        """False if it was not there."""
        served = self._served.pop(process, None)
        if served is None:
            return False
        for address in served:
            key = address.in_pool("")
            pools = self._pools[key]
            pools[address.pool].pop(process, None)
            if not pools[address.pool]:
                del pools[address.pool]
            if not pools:
                del self._pools[key]
        return True

    def lookup(self, address: Address) -> tuple[str, ...]:
        """The processes that serve the address, in any pool, each once."""
        pools = self._pools.get(address.in_pool(""))
        if pools is None:
            return ()
        if len(pools) == 1:
            (only,) = pools.values()
            return tuple(only)
        return tuple(dict.fromkeys(name for pool in pools.values() for name in pool))

    def pools(self, address: Address) -> dict[str, tuple[str, ...]]:
        """Pool -> the processes that listen in it."""
        pools = self._pools.get(address.in_pool(""), {})
        return {pool: tuple(processes) for pool, processes in pools.items()}

    def names(self, process: str) -> bool:
        return process in self._served

    def processes(self) -> tuple[str, ...]:
        return tuple(self._served)

    def serves(self, process: str) -> tuple[Address, ...]:
        return self._served.get(process, ())


class RegistryTable:
    """The registry's own: entries with their time, and the last changes."""

    def __init__(self, lifetime_s: float) -> None:
        self._lifetime_s = lifetime_s
        self._entries: dict[str, Entry] = {}
        self._directory = Directory()
        self._changes: deque[Change] = deque(maxlen=CHANGES_KEPT)
        self.number = 0

    def register(
        self, process: str, revision: int, addresses: Iterable[Address], now_s: float
    ) -> bool:
        """Enters or renews; true if something changed for others."""
        held = self._entries.get(process)
        if held is not None and held.revision > revision:
            self._entries[process] = replace(held, renewed_s=now_s)
            return False
        served = tuple(dict.fromkeys(addresses))
        self._entries[process] = Entry(process, revision, served, now_s)
        if held is not None and held.addresses == served:
            return False
        self._directory.put(process, served)
        self._note(process, revision, served)
        return True

    def renew(self, process: str, revision: int, now_s: float) -> bool:
        """False if the process must register (again)."""
        held = self._entries.get(process)
        if held is None or held.revision < revision:
            return False
        self._entries[process] = replace(held, renewed_s=now_s)
        return True

    def leave(self, process: str) -> bool:
        """False if it was not there."""
        held = self._entries.pop(process, None)
        if held is None:
            return False
        self._directory.drop(process)
        self._note(process, held.revision, None)
        return True

    def expire(self, now_s: float) -> tuple[str, ...]:
        """Drops who has not renewed in time, and names them."""
        late = tuple(
            entry.process
            for entry in self._entries.values()
            if now_s - entry.renewed_s >= self._lifetime_s
        )
        for process in late:
            self.leave(process)
        return late

    def lookup(self, address: Address) -> tuple[str, ...]:
        return self._directory.lookup(address)

    def entries(self) -> tuple[Entry, ...]:
        return tuple(self._entries.values())

    def changes(self, since: int) -> tuple[Change, ...] | None:
        """The changes after number `since`; None if they are no longer known."""
        if since > self.number:
            return None
        missing = self.number - since
        if missing > len(self._changes):
            return None
        return tuple(self._changes)[len(self._changes) - missing :]

    def _note(self, process: str, revision: int, addresses: tuple[Address, ...] | None) -> None:
        self.number += 1
        self._changes.append(Change(self.number, process, addresses, revision))


@dataclass(frozen=True, slots=True)
class Known:
    """What a registry says of a process."""

    revision: int
    addresses: tuple[Address, ...]


class RegistryView:
    """A process's copy of one registry's table; the last known one while the registry is away."""

    def __init__(self) -> None:
        self._known: dict[str, Known] = {}
        self.epoch = ""
        self.number = 0

    def apply(self, epoch: str, changes: Iterable[Change]) -> tuple[str, ...] | None:
        """Takes changes over; returns whom they are of, or None if some are missing: fetch the
        whole.
        """
        if epoch != self.epoch:
            return None
        changed: list[str] = []
        for change in changes:
            if change.number <= self.number:
                continue
            if change.number != self.number + 1:
                return None
            self.number = change.number
            changed.append(change.process)
            if change.addresses is not None:
                self._known[change.process] = Known(change.revision, change.addresses)
            else:
                self._known.pop(change.process, None)
        return tuple(changed)

    def replace(
        self, epoch: str, number: int, entries: Iterable[Entry], *, settled: bool
    ) -> tuple[str, ...]:
        """Takes the whole over; returns whom it changes.

        A registry that is not `settled` has restarted and does not know everybody yet: whom it
        does not name stays.
        """
        before = self._known
        named = {entry.process: Known(entry.revision, entry.addresses) for entry in entries}
        self._known = named if settled else before | named
        self.epoch, self.number = epoch, number
        both = dict.fromkeys([*before, *self._known])
        return tuple(name for name in both if before.get(name) != self._known.get(name))

    def forget(self) -> tuple[str, ...]:
        """Knows nothing any more, and will fetch the whole; returns whom it knew."""
        known, self._known = tuple(self._known), {}
        self.epoch, self.number = "", 0
        return known

    def of(self, process: str) -> Known | None:
        return self._known.get(process)

    def processes(self) -> tuple[str, ...]:
        return tuple(self._known)


class MergedView:
    """What several registries say together.

    A process is there as long as one of them names it; where they differ on what it serves, the
    later revision holds, since a process counts them itself.
    """

    def __init__(self, views: Iterable[RegistryView]) -> None:
        self._views = tuple(views)
        self._directory = Directory()

    def update(self, processes: Iterable[str]) -> tuple[str, ...]:
        """A view has changed what it says of these; returns who is gone."""
        gone: list[str] = []
        for process in processes:
            said = [known for view in self._views if (known := view.of(process)) is not None]
            if said:
                newest = max(said, key=lambda known: known.revision)
                if not self.names(process) or newest.addresses != self.serves(process):
                    self._directory.put(process, newest.addresses)
            elif self._directory.drop(process):
                gone.append(process)
        return tuple(gone)

    def names(self, process: str) -> bool:
        return self._directory.names(process)

    def lookup(self, address: Address) -> tuple[str, ...]:
        return self._directory.lookup(address)

    def pools(self, address: Address) -> dict[str, tuple[str, ...]]:
        return self._directory.pools(address)

    def processes(self) -> tuple[str, ...]:
        return self._directory.processes()

    def serves(self, process: str) -> tuple[Address, ...]:
        return self._directory.serves(process)
