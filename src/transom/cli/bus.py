# SPDX-License-Identifier: Apache-2.0
"""`transom bus`: who is on the bus, what each serves and calls, how fast, and what went wrong.

`transom bus key` makes the key under which a bus between hosts is sealed.
"""

import asyncio
import json
import logging
from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import Any

import uvloop

from transom.cli.connecting import connect_bus
from transom.cli.settings import BusConfig, Settings
from transom.messaging import Client
from transom.node import remote
from transom.node.node import DESCRIBED

FAULTS = ("failed", "timeout", "undeliverable", "not-taken", "duplicate", "late", "unreadable")


def bus(options: Namespace) -> int:
    """Exit status 0: somebody answered; 3: nobody did."""
    settings = Settings.of(options)
    if not settings.config.section(BusConfig).url:
        remote.state_of(settings.data)  # says so if nothing runs there
    logging.getLogger("transom").addHandler(logging.NullHandler())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(_ask(settings, options.wait))
    found.sort(key=lambda node: (node["host"], node["name"]))
    if options.json:
        print(json.dumps(found))
    else:
        print("\n".join(_text(found)) or "nobody on the bus answered")
    return 0 if found else 3


def key(options: Namespace) -> int:
    """Raises: ConfigError; a file that is there stays as it is."""
    from transom.messaging.drivers.zmq.key import make_bus_key

    make_bus_key(options.file)
    print(f"{options.file}: give a copy to each host of the bus, for [bus] key_file; tell nobody")
    return 0


async def _ask(settings: Settings, wait_s: float) -> list[dict[str, Any]]:
    async with connect_bus(settings) as transport:
        client = Client(transport, DESCRIBED, timeout_s=wait_s)
        return [node for node in await client.survey({}, "describe") if isinstance(node, dict)]


def _text(nodes: list[dict[str, Any]]) -> Iterator[str]:
    for node in nodes:
        links = node["links"]
        yield (
            f"{node['name']}  {node['host']}  pid {node['pid']}  Transom {node['version']}  "
            f"links: {links['connected']} made, {links['disconnected']} lost, {links['gap']} gaps"
        )
        for served in sorted(node["serves"], key=lambda served: str(served["topic"])):
            yield f"  serves  {_figures(served['topic'], served)}{_versions(served['endpoints'])}"
        for topic, called in sorted(node["calls"].items()):
            if called["outcomes"]:
                yield f"  calls   {_figures(topic, called)}"
        if node.get("refused"):
            reasons = ", ".join(f"{count} {why}" for why, count in sorted(node["refused"].items()))
            yield f"  refused {reasons}"
        for feed in node.get("feeds", ()):
            yield f"  feeds   {feed['source']}: {_position(feed)}, {_wanted(feed['wanted'])}"
        for replica in node["replicas"]:
            yield f"  follows {replica['source']}: {replica['state']}{_lag(replica)}"


def _position(stands: Mapping[str, Any]) -> str:
    if stands["n"] is None:
        return "cannot say where it stands"
    return f"epoch {stands['epoch']}, n {stands['n']}"


def _wanted(tables: Mapping[str, int]) -> str:
    if not tables:
        return "wanted by nobody"
    return "wanted: " + ", ".join(f"{table} by {count}" for table, count in sorted(tables.items()))


def _lag(replica: Mapping[str, Any]) -> str:
    """Nothing before its rows are there; older nodes do not tell."""
    if replica.get("age_s") is None:
        return ""
    return f", {_position(replica)}, verified {replica['age_s']:.1f} s ago"


def _figures(topic: str, counted: Mapping[str, Any]) -> str:
    outcomes = counted["outcomes"]
    done = sum(count for outcome, count in outcomes.items() if outcome not in FAULTS)
    parts = [f"{topic:<28} {done:>9} done", f"{counted['in_flight']:>4} in flight"]
    if counted["p50_s"] is not None:
        parts.append(f"p50 < {counted['p50_s'] * 1000:g} ms, p99 < {counted['p99_s'] * 1000:g} ms")
    parts += [f"{outcomes[fault]} {fault}" for fault in FAULTS if outcomes.get(fault)]
    return ", ".join(parts)


def _versions(endpoints: list[dict[str, Any]]) -> str:
    own = [
        f"{endpoint['namespace'] or '-'} {endpoint['version']}"
        for endpoint in endpoints
        if endpoint["namespace"] != "transom"
    ]
    return f"  [{'; '.join(own)}]" if own else ""
