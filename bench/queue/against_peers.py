# SPDX-License-Identifier: Apache-2.0
"""Messages a second, posted in batches of 20 and taken 20 at a time, beside other queues.

Ours is the whole of `transom up` over HTTP: posts of 20 over 16 connections, claims of 20 with one
delete of them over 64. The others are asked in their own protocols by raw clients, with as many
connections, batches pipelined, on servers and folders of the run's own. What an acknowledgement
means differs, so it stands beside each figure. Medians of rounds by turns, ratios of each round.

    python -m bench.queue.against_peers [SECONDS [ROUNDS]]
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.queue.running import HttpServer, measured, ours
from bench.report import median, ratio, rounds_argument, seconds_argument, table, written

from support.postgres import fresh_database
from support.rabbit import fresh_vhost
from support.registered import free_port
from support.stack import wait_for
from support.zaqar import OwnRedis

LOAD = Path(__file__).parent / "contenders" / "peer_load.py"
POSTING, TAKING = 16, 64
GOALS = {"beanstalkd -b -f0": ("post", 10), "Redis, appendfsync always": ("post", 1),
         "RabbitMQ, quorum queue": ("take", 3)}  # fmt: skip
DISK = "on disk"


@dataclass(frozen=True)
class Peer:
    """`takes`: whether that is measured."""

    name: str
    kind: str
    address: str
    acknowledged: str
    takes: bool = True


def asked(peer: Peer, what: str, **more: Any) -> dict[str, Any]:
    told = {"kind": peer.kind, "address": peer.address, "what": what, "connections": 1, **more}
    done = subprocess.run(
        [sys.executable, str(LOAD)], input=json.dumps(told), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{peer.name}, {what}: {done.stdout}{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@contextmanager
def program(name: str, port: int, *words: str) -> Iterator[str]:
    """A server of the run's own that listens on the port; gives its address."""
    path = shutil.which(name)
    if path is None:
        raise RuntimeError(f"there is no {name}: apt-get install {name}")
    process = subprocess.Popen([path, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: f":{port:04X} " in Path("/proc/net/tcp").read_text(), 20)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def peers() -> Iterator[list[Peer]]:
    with ExitStack() as opened, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for one in ("beanstalkd", "nats", "redis"):
            (folder / one).mkdir()
        port = free_port()
        jobs = opened.enter_context(
            program("beanstalkd", port, "-l", "127.0.0.1", "-p", str(port),
                    "-b", str(folder / "beanstalkd"), "-f0")
        )  # fmt: skip
        port = free_port()
        stream = opened.enter_context(
            program("nats-server", port, "-a", "127.0.0.1", "-p", str(port), "-js",
                    "-sd", str(folder / "nats"))
        )  # fmt: skip
        always = ("--appendonly", "yes", "--appendfsync", "always", "--save", "", "--port", "0")
        redis = OwnRedis(folder / "redis", *always).start()
        opened.callback(redis.stop)
        rabbit = opened.enter_context(fresh_vhost())
        host, port = rabbit.address
        database = opened.enter_context(fresh_database())
        found = [
            Peer("beanstalkd -b -f0", "beanstalkd", jobs, f"{DISK}, an fsync each"),
            Peer("Redis, appendfsync always", "redis", str(redis.socket),
                 f"{DISK}, an fsync a turn of its loop"),
            Peer("NATS JetStream, file", "nats", stream, "in the page cache; fsync later", False),
            Peer("RabbitMQ, quorum queue", "rabbitmq", f"{host}:{port}/{rabbit.vhost}",
                 f"{DISK}, a log of one node"),
            Peer("PostgreSQL, skip locked", "postgresql", database.url, f"{DISK}, group commit"),
        ]  # fmt: skip
        for peer in found:
            asked(peer, "prepare")
        yield found


def turn(peer: Peer, seconds: float) -> dict[str, float]:
    told = {"post": asked(peer, "post", connections=POSTING, seconds=seconds)["messages_per_s"]}
    if peer.takes:
        found = asked(peer, "take", connections=TAKING, seconds=seconds)
        told["take"] = found["messages_per_s"]
    return told


def our_turn(server: HttpServer, seconds: float) -> dict[str, float]:
    post = measured(server, "post 20", connections=POSTING, seconds=seconds)
    take = measured(server, "claim 20 and delete", connections=TAKING, seconds=seconds)
    return {"post": post["messages_per_s"], "take": take["messages_per_s"]}


def main() -> None:
    seconds, rounds = seconds_argument(1.5), rounds_argument(3)
    found: dict[str, list[dict[str, float]]] = {}
    with ours() as server, peers() as others:
        acknowledged = {"transom over HTTP": server.acknowledged}
        acknowledged |= {peer.name: peer.acknowledged for peer in others}
        for _ in range(rounds):
            found.setdefault("transom over HTTP", []).append(our_turn(server, seconds))
            for peer in others:
                found.setdefault(peer.name, []).append(turn(peer, seconds))
    mine = found["transom over HTTP"]
    contenders: dict[str, Any] = {}
    for name, turns in found.items():
        contenders[name] = {"acknowledged": acknowledged[name]}
        for what in turns[0]:
            contenders[name][f"{what}_messages_per_s"] = median((one[what] for one in turns), 0)
            contenders[name][f"{what}_times"] = ratio(
                [one[what] for one in mine], [one[what] for one in turns]
            )
    goals = {name: {"what": what, "times": times} for name, (what, times) in GOALS.items()}
    table(
        ["messages/s", "posted", "ours is", "taken", "ours is", "acknowledged"],
        ([name, one["post_messages_per_s"], one["post_times"],
          one.get("take_messages_per_s", "-"), one.get("take_times", "-"), one["acknowledged"]]
         for name, one in contenders.items()),
    )  # fmt: skip
    written("queue_against_peers", {
        "posting_connections": POSTING, "taking_connections": TAKING, "batch": 20,
        "body_bytes": 140, "contenders": contenders, "goals": goals,
    })  # fmt: skip


if __name__ == "__main__":
    main()
