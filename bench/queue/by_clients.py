# SPDX-License-Identifier: Apache-2.0
"""Messages a second as a Python service sees them: each queue through its usual asyncio client.

Ours is `transom up` over HTTP through `transom.queue.client`, where every post has an
Idempotency-Key; the others are those of `against_peers`, on the same machine, through redis-py,
aio-pika, nats-py and greenstalk (which blocks: a thread for each). All run on asyncio's own loop.
16 workers post 20 messages at a time, 64 take up to 20 and acknowledge them. Medians of rounds by
turns, ratios of each round. What an acknowledgement means is as in `against_peers`.

    python -m bench.queue.by_clients [SECONDS [ROUNDS]]
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.queue.against_peers import POSTING, TAKING, peers
from bench.queue.running import ROOT, HttpServer, ours
from bench.report import median, ratio, rounds_argument, seconds_argument, table, written

LOAD = Path(__file__).parent / "contenders" / "client_load.py"
PEERS = ROOT / ".cache" / "peers" / "bin" / "python"
GOALS = {"beanstalkd -b -f0": ("post", 10), "Redis, appendfsync always": ("post", 1),
         "RabbitMQ, quorum queue": ("take", 3)}  # fmt: skip
CLIENTS = {"beanstalkd": "greenstalk", "redis": "redis-py", "nats": "nats-py",
           "rabbitmq": "aio-pika"}  # fmt: skip


def loaded(python: Path | str, kind: str, address: str, what: str, seconds: float) -> float:
    workers = POSTING if what == "post" else TAKING
    told = {"kind": kind, "address": address, "what": what, "workers": workers, "seconds": seconds}
    done = subprocess.run(
        [python, str(LOAD)], input=json.dumps(told), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{kind}, {what}: {done.stdout}{done.stderr}")
    return float(json.loads(done.stdout)["messages_per_s"])


def turn(python: Path | str, kind: str, address: str, seconds: float) -> dict[str, float]:
    return {what: loaded(python, kind, address, what, seconds) for what in ("post", "take")}


def our_turn(server: HttpServer, seconds: float) -> dict[str, float]:
    address = f"http://127.0.0.1:{server.port}{server.prefix} {server.headers['X-Auth-Token']}"
    return turn(sys.executable, "transom", address, seconds)


def main() -> None:
    seconds, rounds = seconds_argument(1.5), rounds_argument(3)
    name = "transom.queue.client"
    found: dict[str, list[dict[str, float]]] = {name: []}
    clients = {name: name}
    with ours() as server, peers() as others:
        measured = [peer for peer in others if peer.kind in CLIENTS]
        for _ in range(rounds):
            found[name].append(our_turn(server, seconds))
            for peer in measured:
                clients[peer.name] = CLIENTS[peer.kind]
                told = turn(PEERS, peer.kind, peer.address, seconds)
                found.setdefault(peer.name, []).append(told)
    contenders: dict[str, Any] = {}
    for who, turns in found.items():
        contenders[who] = {"client": clients[who]}
        for what in ("post", "take"):
            rates = [one[what] for one in turns]
            contenders[who][f"{what}_messages_per_s"] = median(rates, 0)
            contenders[who][f"{what}_times"] = ratio([one[what] for one in found[name]], rates)
    goals = {who: {"what": what, "times": times} for who, (what, times) in GOALS.items()}
    table(
        ["messages/s", "client", "posted", "ours is", "taken", "ours is"],
        ([who, one["client"], one["post_messages_per_s"], one["post_times"],
          one["take_messages_per_s"], one["take_times"]] for who, one in contenders.items()),
    )  # fmt: skip
    written("queue_by_clients", {
        "posting_workers": POSTING, "taking_workers": TAKING, "batch": 20, "body_bytes": 140,
        "contenders": contenders, "goals": goals,
    })  # fmt: skip


if __name__ == "__main__":
    main()
