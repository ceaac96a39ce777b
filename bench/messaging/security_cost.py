# SPDX-License-Identifier: Apache-2.0
"""What security costs a message: microseconds of processor time to seal it and to open it again.

With tickets had and opened, as in the midst of a run. `pair` is a message to one party and, with
its own counter, like its reply; `group` carries a signature of its source besides, which is what
costs there if the message is alone. Beside it stands what the envelope itself costs: a call encoded
and decoded. Below are whole calls over memory:// within one process, caller and server together:
all that security does on a call's way, with 64 callers at once and with one.

usage: python -m bench.messaging.security_cost     -> bench/results/security_cost.json
"""

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.report import table, written

from transom.messaging import Client, Server, Target, Transport, connect
from transom.messaging.envelope import Request, decode_request, encode_request
from transom.messaging.security.certificates import Certificate, Identity, issue
from transom.messaging.security.message import Mode, Way, Writer
from transom.messaging.security.opening import Opener
from transom.messaging.security.reading import Reader
from transom.messaging.security.sealing import new_signing_key
from transom.messaging.security.sessions import SHARED_KEY, Place, Role, Session
from transom.messaging.security.tickets import Ticket, issue_ticket
from transom.runtime.clock import SystemClock

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from support.secured_world import KeyWorld

HOUR_MS = 3_600_000
NOW_MS = time.time_ns() // 1_000_000
TURNS = 7
PLACES = {"pair": Place("server", "work", "h1"), "group": Place("topic", "work")}


def parties() -> tuple[Opener, dict[str, Way]]:
    """A receiver, and the ways to it."""
    authority, identity = new_signing_key(os.urandom), Identity.make(os.urandom)
    long_term_key, group_key = os.urandom(32), os.urandom(32)
    certificate = Certificate(
        "api.host1", (), identity.signing_key, identity.agreement_key, NOW_MS, NOW_MS + HOUR_MS
    )
    signed = issue(certificate, authority)
    receiver = Opener(SHARED_KEY, "work.h1", identity, (long_term_key,), skew_ms=0)
    receiver.authorities = {authority.public_key().public_bytes_raw()}
    receiver.add_group_key("work", 1, group_key, NOW_MS + HOUR_MS)
    ways = {}
    for name, place in PLACES.items():
        group = name == "group"
        destination = "work" if group else "work.h1"
        ticket = Ticket("api.host1", destination, NOW_MS, HOUR_MS, os.urandom(32), signed)
        sealing, generation = (group_key, 1) if group else (long_term_key, 0)
        session = Session(
            SHARED_KEY,
            "api.host1",
            destination,
            ticket.key,
            group=group,
            ticket=issue_ticket(ticket, sealing, os.urandom, generation=generation),
            issued_ms=NOW_MS,
            lifetime_ms=HOUR_MS,
        )
        signing = identity.signing if group else None
        ways[name] = Way(session, Role.REQUEST, place, os.urandom(16), signing, "reply_" + "a" * 32)
    return receiver, ways


def cost_us(work: Callable[[int], Any], count: int) -> float:
    """Processor time of one call of `work(n)`: the median of several turns; n comes once."""
    turns = []
    for turn in range(TURNS):
        begun = time.process_time()
        for at in range(turn * count, turn * count + count):
            work(at)
        turns.append((time.process_time() - begun) / count * 1e6)
    return round(statistics.median(turns), 2)


def body_of(size: int) -> bytes:
    request = Request(method="work", args={"text": "x" * (size - 120)}, context={"user": "u"})
    return encode_request(request)


def measure(name: str, mode: Mode, body: bytes) -> dict[str, float]:
    receiver, ways = parties()
    writer, reader = Writer(ways[name], mode), Reader(receiver, {ways[name].place: ()})
    count = 300 if name == "group" else 3000

    def encode(at: int) -> bytes:
        return writer.encode(body, counter=at, sent_ms=NOW_MS, deadline_ms=NOW_MS + 1000)

    # A proof that was checked is known: each message to a group needs one of its own here.
    messages = [encode(at) for at in range(count * TURNS if name == "group" else 1)]
    sealed = cost_us(encode, count)
    opened = cost_us(lambda at: reader.decode(messages[at % len(messages)], NOW_MS), count)
    both = round(sealed + opened, 2)
    return {"encode_us": sealed, "decode_us": opened, "both_us": both, "bytes": len(messages[0])}


class Endpoint:
    """Answers with what it was told, as a call and its reply of one size."""

    async def work(self, context: Any, text: str) -> str:
        return text


async def called(client: Client, callers: int, count: int) -> None:
    async def one() -> None:
        for _ in range(count // callers):
            await client.call({"user": "u"}, "work", text="x" * 190)

    await asyncio.gather(*(one() for _ in range(callers)))


async def whole_calls(name: str, callers: int, count: int) -> dict[str, float]:
    """Microseconds of processor time of a call, by mode: medians of interleaved turns."""
    keys = KeyWorld(SystemClock(), os.urandom)
    serving, asking = keys.register("work.h1"), keys.register("api.host1")
    clients: dict[str, Client] = {}
    transports: list[Transport] = []
    for mode in Mode:
        pair = [
            connect(f"memory://{mode}", security=keys.security(party, SHARED_KEY, mode=mode))
            for party in (serving, asking)
        ]
        transports += pair
        for transport in pair:
            await transport.start()
        await Server(pair[0], Target(topic="work", server="h1"), [Endpoint()]).start()
        target = Target(topic="work", server="h1" if name == "pair" else None)
        clients[mode] = Client(pair[1], target, timeout_s=60)
        await called(clients[mode], callers, 2 * callers)
    turns: dict[str, list[float]] = {mode: [] for mode in clients}
    for _ in range(TURNS):
        for mode, client in clients.items():
            begun = time.process_time()
            await called(client, callers, count)
            turns[mode].append((time.process_time() - begun) / count * 1e6)
    for transport in reversed(transports):
        await transport.stop()
    return {mode: round(statistics.median(took), 1) for mode, took in turns.items()}


def main() -> int:
    figures: dict[str, dict[str, float]] = {}
    for size in (500, 20_000):
        body = body_of(size)
        request = decode_request(body)
        envelope = cost_us(lambda at, r=request: decode_request(encode_request(r)), 2000)
        figures[f"envelope alone, {size} B"] = {"both_us": envelope, "bytes": len(body)}
        for name in PLACES:
            for mode in (Mode.SIGN, Mode.ENCRYPT):
                figures[f"{mode} {name}, {size} B"] = measure(name, mode, body)
    columns = ("encode_us", "decode_us", "both_us", "bytes")
    rows = [[name, *(one.get(column, "") for column in columns)] for name, one in figures.items()]
    table(["", *columns], rows)
    calls = {
        f"{name}, {callers} at once": asyncio.run(whole_calls(name, callers, 1280))
        for name in PLACES
        for callers in (64, 1)
    }
    modes = [str(mode) for mode in Mode]
    table(["a call, us", *modes], [[way, *map(took.get, modes)] for way, took in calls.items()])
    pair = figures["encrypt pair, 500 B"]["both_us"], figures["sign pair, 500 B"]["both_us"]
    claim = "sealing and opening a 500-byte message of a pair takes less than 20 us"
    written(
        "security_cost",
        {"claim": claim, "holds": max(pair) < 20, "figures": figures, "calls_us": calls},
    )
    return 0 if max(pair) < 20 else 1


if __name__ == "__main__":
    raise SystemExit(main())
