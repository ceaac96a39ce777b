# SPDX-License-Identifier: Apache-2.0
"""regorus, a Rego in Rust: documents keyed as its policies look into them.

A change is asked about as Rego does it: are these objects, given as input, allowed? The documents
stay as they are, so nothing is maintained, and there is no `forbid`.
"""

import json
from collections.abc import Iterable
from importlib.metadata import version

import regorus
from answering import Row, serve

POLICY = """
package cloud

error contains port.vm if {
  some port in data.ports
  not data.allowed[data.servers[port.vm]][port.net]
}

bridged contains [vm, data.servers[vm]] if {
  some vm, ports in data.of_server
  some port, other in ports
  some second in ports
  other != second
}

wrong contains port.vm if {
  some port in input.ports
  not data.allowed[data.servers[port.vm]][port.net]
}
"""


class Regorus:
    version = f"regorus {version('celine-regorus')}"

    def __init__(self) -> None:
        self._engine = regorus.Engine()
        self._engine.add_policy("cloud.rego", POLICY)

    def load(self, table: str, rows: Iterable[Row]) -> None:
        document: dict[str, dict[str, object]] = {}
        if table == "servers":
            document = dict(rows)  # type: ignore[arg-type]
        elif table == "ports":
            of_server: dict[str, dict[str, str]] = {}
            for port, vm, net in rows:
                document[port] = {"vm": vm, "net": net}
                of_server.setdefault(vm, {})[port] = net
            self._engine.add_data_json(json.dumps({"of_server": of_server}))
        else:
            for tenant, net in rows:
                document.setdefault(tenant, {})[net] = True
        self._engine.add_data_json(json.dumps({table: document}))

    def loaded(self) -> None:
        pass

    def first(self) -> set[str]:
        found: set[str] = self._engine.eval_rule("data.cloud.error")
        return found

    again = first

    def second(self) -> list[Row]:
        return [
            tuple(row) for row in json.loads(self._engine.eval_rule_as_json("data.cloud.bridged"))
        ]

    def select(self, vm: str) -> list[Row]:
        found = self._engine.eval_query(f'data.of_server["{vm}"]')["result"]
        return list(found[0]["expressions"][0]["value"].items()) if found else []

    def _wrong(self, ports: list[Row]) -> set[str]:
        self._engine.set_input({"ports": [{"vm": vm, "net": net} for _, vm, net in ports]})
        found: set[str] = self._engine.eval_rule("data.cloud.wrong")
        return found

    def insert(self, port: str, vm: str, net: str) -> set[str]:
        return self._wrong([(port, vm, net)])

    def remove(self, port: str, vm: str, net: str) -> None:
        pass

    def what_if(self, ports: list[Row]) -> set[str]:
        return self._wrong(ports)


serve(Regorus())
