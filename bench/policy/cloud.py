# SPDX-License-Identifier: Apache-2.0
"""A cloud by seed, in files that each contender reads: rows, changes, and the true answers.

N servers and N ports, N/100 tenants and as many nets; each tenant may use 50 nets (N/2 rows). One
port in ten is a second port of some server. One in a hundred is on a net that its tenant may not
use. Ids are 36 characters (tenants 32), as OpenStack's are. What is true is counted here without
any of the contenders.

Q1  error(vm) :- servers(vm, tenant), ports(port, vm, net), not allowed(tenant, net)
Q2  bridged(vm, tenant) :- servers(vm, tenant), ports(port, vm, net), ports(second, vm, other),
                           not equal(net, other)
"""

import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
SEED = 1
SERVERS = (10_000, 100_000, 1_000_000)
NETS_EACH = 50
CHANGES = 2000
"""How many different single changes there are to try."""
WHAT_IF = 1000


def rows(servers: int) -> int:
    """Of all tables."""
    return servers * 5 // 2


def written(servers: int, seed: int = SEED) -> Path:
    """The folder with the files; made if it is not there."""
    folder = ROOT / ".cache" / "policy-data" / f"{servers}-{seed}"
    if not (folder / "changes.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        Cloud(servers, seed).write(folder)
    return folder


class Cloud:
    def __init__(self, servers: int, seed: int) -> None:
        self._random = random.Random(seed)
        few = servers // 100
        self.nets = [self._uuid() for _ in range(few)]
        tenants = [self._uuid().replace("-", "") for _ in range(few)]
        self.allowed = {one: self._random.sample(self.nets, NETS_EACH) for one in tenants}
        self.servers = {self._uuid(): tenants[at % few] for at in range(servers)}
        self._vms = list(self.servers)
        bad = set(self._random.sample(range(servers), few))
        self.ports = [self._port(vm, at in bad) for at, vm in enumerate(self._vms)]

    def _uuid(self) -> str:
        text = self._random.randbytes(16).hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def _port(self, vm: str, bad: bool) -> tuple[str, str, str]:
        if self._random.random() < 0.1:
            vm = self._random.choice(self._vms)
        net = self._random.choice(self.allowed[self.servers[vm]])
        return self._uuid(), vm, self._forbidden(vm) if bad else net

    def _forbidden(self, vm: str) -> str:
        """A net that the server's tenant may not use."""
        allowed = self.allowed[self.servers[vm]]
        while (net := self._random.choice(self.nets)) in allowed:
            pass
        return net

    def write(self, folder: Path) -> None:
        pairs = [(tenant, net) for tenant, nets in self.allowed.items() for net in nets]
        _write(folder / "servers.tsv", self.servers.items())
        _write(folder / "ports.tsv", self.ports)
        _write(folder / "allowed.tsv", pairs)
        permitted = set(pairs)
        nets: dict[str, set[str]] = {}
        on: dict[str, list[tuple[str, str]]] = {}
        users: dict[tuple[str, str], set[str]] = {}
        for port, vm, net in self.ports:
            nets.setdefault(vm, set()).add(net)
            on.setdefault(vm, []).append((port, net))
            users.setdefault((self.servers[vm], net), set()).add(vm)
        wrong = {vm for pair, vms in users.items() if pair not in permitted for vm in vms}
        _write(folder / "q1.tsv", ([vm] for vm in wrong))
        _write(
            folder / "q2.tsv",
            ((vm, self.servers[vm]) for vm, found in nets.items() if len(found) > 1),
        )
        right = [vm for vm in self._vms if vm not in wrong]
        chosen = self._random.sample(right, CHANGES + WHAT_IF)
        new = [(self._uuid(), vm, self._forbidden(vm)) for vm in chosen]
        used = [pair for pair in pairs if pair in users and not users[pair] & wrong]
        forbidden = self._random.sample(used, min(CHANGES, len(used)))
        changes = {
            "select": [(vm, sorted(on.get(vm, []))) for vm in self._random.sample(right, CHANGES)],
            "insert": new[:CHANGES],
            "forbid": [(*pair, sorted(users[pair])) for pair in forbidden],
            "what_if": new[CHANGES:],
        }
        (folder / "changes.json").write_text(json.dumps(changes))


def _write(path: Path, found: Iterable[Sequence[str]]) -> None:
    with path.open("w") as file:
        file.writelines("\t".join(row) + "\n" for row in found)
