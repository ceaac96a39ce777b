# SPDX-License-Identifier: Apache-2.0
"""What signing and encrypting cost whole calls over RabbitMQ, to one server and to a topic.

The same calls without security, signed, and encrypted, in interleaved rounds; a request of about
500 bytes. A call to one server is sealed for that party; one to a topic is for a group, and carries
a signature of its sender, which costs more than all the rest. The suite is public-key; sessions are
set up before the rounds. The price is the part of the calls a second that is lost.

usage: python -m bench.messaging.security [SECONDS [ROUNDS]]    -> bench/results/security.json
"""

import base64
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from bench.messaging.running import OURS, OURS_UVLOOP, Contender, broker, contender
from bench.report import (
    median,
    ratio,
    rounds_argument,
    seconds_argument,
    table,
    written,
)

from transom.messaging.security.certificates import Certificate, Identity, issue
from transom.messaging.security.sealing import new_signing_key

MODES = ("none", "sign", "encrypt")
CALLERS = (1, 64)
ARGUMENT = "x" * 190
GOALS = {1: 10.0, 64: 20.0}
DAY_MS = 86_400_000
Figures = dict[str, dict[str, list[float]]]


def enrolled(folder: Path, *parties: str) -> None:
    """Keys and certificates of the parties, as `TRANSOM_BENCH_SECURITY` wants them."""
    authority = new_signing_key(os.urandom)
    (folder / "authority").write_bytes(authority.public_key().public_bytes_raw())
    now_ms = time.time_ns() // 1_000_000
    for party in parties:
        identity = Identity.make(os.urandom)
        certificate = Certificate(
            party, (), identity.signing_key, identity.agreement_key,
            now_ms - DAY_MS, now_ms + DAY_MS,
        )  # fmt: skip
        text = base64.b64encode(issue(certificate, authority))
        (folder / f"{party}.certificate").write_bytes(text)
        (folder / f"{party}.identity").write_bytes(identity.dump())


def one_round(it: Contender, seconds: float) -> dict[str, tuple[float, float]]:
    """Calls a second and CPU microseconds a call, of each way."""
    told = {}
    for callers in CALLERS:
        for way, server in (("server", "s0"), ("topic", None)):
            before_s = it.cpu_s()
            calls = it.client.ask(
                "calls", topic=it.topic, callers=callers, seconds=seconds, x=ARGUMENT,
                server=server,
            )  # fmt: skip
            cpu_us = (it.cpu_s() - before_s) / calls["count"] * 1e6
            told[f"{callers} to a {way}"] = calls["count"] / calls["took_s"], cpu_us
    return told


def measure(seconds: float, rounds: int) -> tuple[Figures, Figures]:
    """Rates and CPU, of each way and mode: one value a round."""
    rates: Figures = {}
    cpu: Figures = {}
    with broker() as place, ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kinds = {mode: replace(OURS_UVLOOP, name=mode) for mode in MODES}
        enrolled(folder, "caller.one", *(f"bench-{mode}.s0" for mode in MODES))
        for mode in MODES[1:]:
            told = {"TRANSOM_BENCH_SECURITY": f"{mode} {folder}"}
            kinds[mode] = replace(kinds[mode], variables={**OURS_UVLOOP.variables, **told})
        started = {
            mode: stack.enter_context(contender(kind, place)) for mode, kind in kinds.items()
        }
        for it in started.values():
            one_round(it, 0.05)
        for _ in range(rounds):
            for mode, it in started.items():
                for way, (rate, cpu_us) in one_round(it, seconds).items():
                    rates.setdefault(way, {}).setdefault(mode, []).append(rate)
                    cpu.setdefault(way, {}).setdefault(mode, []).append(cpu_us)
    return rates, cpu


def main() -> int:
    seconds, rounds = seconds_argument(0.7), rounds_argument(3)
    rates, cpu = measure(seconds, rounds)
    result = {
        way: {
            mode: {
                "calls_per_s": median(own[mode], 0),
                "price_percent": round((1 - ratio(own[mode], own["none"])) * 100, 1),
                "cpu_us_per_call": median(cpu[way][mode]),
            }
            for mode in MODES
        }
        for way, own in rates.items()
    }
    written(
        "security",
        {
            "claim": "what security takes off the calls a second",
            "goal_percent": {str(callers): goal for callers, goal in GOALS.items()},
            "callers": result,
            "rounds": {
                way: {mode: [round(rate) for rate in own[mode]] for mode in MODES}
                for way, own in rates.items()
            },
            "versions": [OURS.version],
        },
    )
    rows = [
        (f"{way}, {mode}", f"{told['calls_per_s']:.0f}", f"{told['cpu_us_per_call']:.0f}",
         f"{told['price_percent']:.1f}")
        for way, modes in result.items()
        for mode, told in modes.items()
    ]  # fmt: skip
    table(("callers", "calls/s", "CPU us", "price %"), rows)
    print("goal: below 10 % at 1 caller, 20 % at 64")
    return 0


if __name__ == "__main__":
    sys.exit(main())
