# SPDX-License-Identifier: Apache-2.0
"""The figures of messaging, of the queue and of policy as pictures and tables, from bench/results;
measures nothing.

A bar is as long as the logarithm of how many times better ours is: one step of the scale is ten
times. The picture is plain SVG and takes its colours from the reader's light or dark setting.

usage: python -m bench.figure     -> docs/explanation/{messaging,queue,policy}-figures.svg, and the
                                     tables in the pages beside them
"""

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
PAGES = ROOT / "docs" / "explanation"
OURS, PEER = "transom", "oslo.messaging 18"
LABEL_PX, SCALE_PX, NOTE_PX, ROW_PX, TOP_PX = 250, 300, 280, 34, 56
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .note { fill: #59636e } .title { font-weight: 600; font-size: 15px }
  .bar { fill: #0969da } .line { stroke: #d1d9e0 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .note { fill: #9198a1 } .bar { fill: #4493f8 } .line { stroke: #3d444d }
  }
"""


@dataclass(frozen=True)
class Row:
    """One claim. `times`: how many times better ours is; 0 where a number cannot say it."""

    claim: str
    ours: str
    theirs: str
    times: float
    file: str


@dataclass(frozen=True)
class Figures:
    """A page with a picture: their names, the heads of the first columns, what the picture says.

    `tables`: others of the page, by their marks.
    """

    name: str
    over: str
    peer: str
    title: str
    rows: Callable[[], Iterator[Row]]
    tables: Mapping[str, Callable[[], str]] = field(default_factory=dict)


def result(name: str) -> dict[str, Any]:
    """What was measured last. Raises: FileNotFoundError if nothing was."""
    told: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
    return told


def messaging() -> Iterator[Row]:
    """The rows of the table, in its order."""
    for callers, told in result("rabbit_calls")["callers"].items():
        ours, theirs = (told["contenders"][name] for name in (OURS, PEER))
        many = "1 caller" if callers == "1" else f"{callers} callers"
        yield Row(
            f"Calls a second, {many}", f"{ours['calls_per_s']:,.0f}",
            f"{theirs['calls_per_s']:,.0f}", told["ratio"], "messaging.rabbit_calls",
        )  # fmt: skip
        yield Row(
            f"CPU of a call, {many}", f"{ours['cpu_us_per_call']:,.0f} µs",
            f"{theirs['cpu_us_per_call']:,.0f} µs", told["cpu_ratio"], "messaging.rabbit_calls",
        )  # fmt: skip
    rates = result("rabbit_casts")["rates"]
    for name, claim in (
        ("casts sent, 64", "Casts a second, 64 callers"),
        ("fan-out deliveries, 64", "Fan-out to 3, deliveries a second"),
        ("notifications listened", "Notifications heard a second"),
    ):
        told = rates[name]
        yield Row(
            claim, f"{told[OURS]:,.0f}", f"{told[PEER]:,.0f}", told["ratio"],
            "messaging.rabbit_casts",
        )  # fmt: skip
    for name, claim, path in (
        ("dead_callers", "A call behind 64 of dead callers", ()),
        ("reply_queue_deleted", "A call after its reply queue was deleted", ("next call",)),
    ):
        ours, theirs = (_at(result(name)["median"][who], path) for who in (OURS, PEER))
        yield Row(claim, _time(ours), _time(theirs), theirs / ours, f"messaging.{name}")
    figures = result("broker_restart")["figures"]
    yield Row(
        "Calls hanging while a broker restarts", str(figures[OURS]["hung"]),
        str(figures[PEER]["hung"]), 0.0, "messaging.broker_restart",
    )  # fmt: skip
    figures = result("footprint")["figures"]
    ours, theirs = (figures[who]["server"] for who in (OURS, PEER))
    yield Row(
        "Threads of a server, 64 calls in flight", f"{ours['threads']}",
        f"{theirs['threads']}", theirs["threads"] / ours["threads"], "messaging.footprint",
    )  # fmt: skip


def queue() -> Iterator[Row]:
    """Beside a Zaqar whose Redis keeps nothing."""
    asked = result("queue_against_zaqar")["requests"]
    for what, told in asked.items():
        ours, theirs = told["transom"], told["zaqar"]
        claim = f"{what.capitalize()}, requests a second"
        if what.startswith("claim"):
            claim = "Claim 20 and delete them, turns a second"
        yield Row(
            claim, f"{ours['per_s']:,.0f}", f"{theirs['per_s']:,.0f}", told["times"],
            "queue.against_zaqar",
        )  # fmt: skip
    for what, told in asked.items():
        ours, theirs = told["transom"], told["zaqar"]
        yield Row(
            f"CPU of the server, {what}", f"{ours['cpu_us']:,.0f} µs",
            f"{theirs['cpu_us']:,.0f} µs", told["cpu_times"], "queue.against_zaqar",
        )  # fmt: skip
    latency = result("queue_latency")
    for claim, told in (("64 connections", latency), ("at 200 a second", latency["paced"])):
        ours, theirs = (told["contenders"][name]["p99_ms"] for name in ("transom", "zaqar"))
        yield Row(
            f"99th percentile of a post, {claim}", _time(ours), _time(theirs),
            told["below_zaqar_times"], "queue.latency",
        )  # fmt: skip


def peers() -> str:
    """Markdown: the queues that are no Zaqar, with what an acknowledgement of each means."""
    found = result("queue_against_peers")["contenders"]
    return _beside(found, "Acknowledged when it is", "acknowledged")


def clients() -> str:
    """Markdown: the same queues through the clients of Python services."""
    return _beside(result("queue_by_clients")["contenders"], "Client", "client")


def _beside(contenders: Mapping[str, Mapping[str, Any]], head: str, key: str) -> str:
    lines = [
        (
            "| Messages a second | Posted, 20 at a time | Ours is | Taken, 20 at a time | Ours is "
            f"| {head} |"
        ),
        "|---|---|---|---|---|---|",
    ]
    for name, told in contenders.items():
        cells = [name]
        for what in ("post", "take"):
            rate, better = told.get(f"{what}_messages_per_s"), told.get(f"{what}_times")
            cells += ["" if rate is None else f"{rate:,.0f}"]
            cells += ["" if rate is None or name.startswith(OURS) else f"{better:.2g} times"]
        lines.append(f"| {' | '.join([*cells, told[key]])} |")
    return "\n".join(lines)


QUESTIONS = {
    "load_s": "Loading decoded rows, with indexes",
    "first_s": "A question of every row",
    "again_s": "The same again, after changes",
    "second_s": "Every row, joined with itself",
    "select_us": "The ports of one server",
    "insert_us": "A port comes: the new violation",
    "forbid_us": "An allowed row goes: its violations",
    "what_if_ms": "1,000 ports tried and taken back",
}
IN_MS = {"s": 1000.0, "ms": 1.0, "us": 0.001}
LARGEST = "2500000"
TAKEN_IN = ("insert_us", "what_if_ms")


def policy() -> Iterator[Row]:
    """The best of the others for each question at 2,500,000 rows; of a change, the best of those
    that take both kinds of it in."""
    found = result("policy_against_peers")["sizes"][LARGEST]
    for what, claim in QUESTIONS.items():
        others = {
            name: told
            for name, told in found.items()
            if what in told and name != OURS and (what not in TAKEN_IN or "forbid_us" in told)
        }
        best = min(others, key=lambda name: others[name][what])
        yield Row(
            claim, _asked(found[OURS], what), f"{_asked(found[best], what)} {best}",
            others[best]["ours_is_better_times"][what], "policy.against_peers",
        )  # fmt: skip


def _asked(told: Mapping[str, float], what: str) -> str:
    return _time(told[what] * IN_MS[what.rsplit("_", 1)[1]]) if what in told else ""


def policy_sizes() -> str:
    """Markdown: every contender at every size."""
    asked, memory = result("policy_against_peers"), result("policy_memory")["sizes"]
    heads = (
        "Load",
        "First",
        "Again",
        "Second",
        "Select",
        "Port comes",
        "Allowed goes",
        "What if",
        "Memory",
    )
    lines = []
    for rows, found in asked["sizes"].items():
        lines += [
            f"| {int(rows):,} rows | {' | '.join(heads)} |",
            f"|---|{'---|' * len(heads)}",
        ]
        for name, told in found.items():
            held = memory.get(rows, {}).get(name)
            cells = [_asked(told, what) for what in QUESTIONS]
            cells.append("" if held is None else f"{held['first_mb']:,.0f} MB")
            lines.append(f"| {' | '.join([name, *cells])} |")
        lines.append("")
    left = (f"{name} is left out from then on: {why}." for name, why in asked["left_out"].items())
    return "\n".join([*lines, *left]).rstrip()


def policy_changes() -> str:
    """Markdown: one change at three sizes, and what it touches."""
    sizes = result("policy_one_row")["sizes"]
    names = {
        "insert": "A port comes, one rule kept",
        "insert, two rules": "A port comes, two rules kept",
        "insert, by the door": "A port comes, through a workspace",
        "insert, SQLite": "The same in SQLite, by SQL for it",
        "forbid": "An allowed row goes", "forbid, SQLite": "The same in SQLite",
        "what_if": "1,000 ports tried and taken back", "explain": "All derivations of a violation",
        "why_not": "The literal that a server fails at",
    }  # fmt: skip
    lines = _by_size("p50, p99", sizes)
    for name, claim in names.items():
        cells = (
            f"{_time(one[name]['p50_us'] / 1000)}, {_time(one[name]['p99_us'] / 1000)}"
            for one in sizes.values()
        )
        lines.append(f"| {claim} | {' | '.join(cells)} |")
    for what, claim in (("insert", "a port"), ("forbid", "an allowed row")):
        cells = (f"{one[f'{what}_counted']['touched']:.0f}" for one in sizes.values())
        lines.append(f"| Rows that {claim} touches | {' | '.join(cells)} |")
    return "\n".join(lines)


def _by_size(first: str, sizes: Iterable[str]) -> list[str]:
    """The head of a table with a column a size."""
    columns = [f"{int(rows):,} rows" for rows in sizes]
    return [f"| {' | '.join([first, *columns])} |", f"|---|{'---|' * len(columns)}"]


def policy_rules() -> str:
    """Markdown: rules and questions in slices, and the longest turn of a loop."""
    inserted, pauses = result("policy_rule_insert")["sizes"], result("policy_pauses")["sizes"]
    names = {
        "ask first, nothing kept": "A question of every row, nothing kept for it",
        "add first": "The first rule comes", "add second": "The second rule comes",
        "add one tenant": "A rule of one tenant comes",
        "add on top": "A rule on top of the first comes",
    }  # fmt: skip
    lines = _by_size("In all, longest slice", inserted)
    for name, claim in names.items():
        cells = (
            f"{_time(one[name]['seconds'] * 1000)}, {_time(one[name]['longest_ms'])}"
            for one in inserted.values()
        )
        lines.append(f"| {claim} | {' | '.join(cells)} |")
    for name, claim in (("engine", "one row a turn"), ("bare", "the same loop without an engine")):
        cells = (_time(one[name]["most_us"] / 1000) for one in pauses.values())
        lines.append(f"| Longest turn of a loop, {claim} | {' | '.join(cells)} |")
    return "\n".join(lines)


FIGURES = (
    Figures(
        "messaging", "Over RabbitMQ", "oslo.messaging 18.3.1",
        "Times better than oslo.messaging 18.3.1, on the same RabbitMQ", messaging,
    ),
    Figures(
        "queue", "Over HTTP", "Zaqar 23",
        "Times better than Zaqar 23 with Redis in memory; ours is on disk", queue,
        {"peers": peers, "clients": clients},
    ),
    Figures(
        "policy", "At 2,500,000 rows", "The best of the others",
        "Times better than the best of six others, 2,500,000 rows", policy,
        {"sizes": policy_sizes, "changes": policy_changes, "rules": policy_rules},
    ),
)  # fmt: skip


def _at(told: Any, path: tuple[str, ...]) -> float:
    for name in path:
        told = told[name]
    return float(told)


def _time(milliseconds: float) -> str:
    if milliseconds >= 1000:
        return f"{milliseconds / 1000:,.1f} s"
    if milliseconds < 0.95:
        return f"{milliseconds * 1000:,.3g} µs"
    return f"{milliseconds:.1f} ms"


def times(row: Row) -> str:
    if not row.times:
        return ""
    if row.times < 1:
        return f"{row.times:.2g} times"
    return f"{row.times:,.0f} times" if row.times >= 10 else f"{row.times:.1f} times"


def table(figures: Figures, found: list[Row]) -> str:
    """Markdown."""
    head = f"| {figures.over} | transom | {figures.peer} | Better | Again with |\n"
    lines = [
        f"| {row.claim} | {row.ours} | {row.theirs} | {times(row)} | `bench.{row.file}` |"
        for row in found
    ]
    return head + "|---|---|---|---|---|\n" + "\n".join(lines)


def picture(figures: Figures, found: list[Row]) -> str:
    """SVG."""
    width = LABEL_PX + SCALE_PX + NOTE_PX
    height = TOP_PX + ROW_PX * len(found) + 12
    decades = max(1, math.ceil(max(math.log10(max(row.times, 1)) for row in found)))
    step_px = SCALE_PX / decades
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img">'
        ),
        f"<title>{figures.title}</title>",
        f"<style>{STYLE}</style>",
        f'<text class="title" x="8" y="20">{figures.title}</text>',
    ]
    for decade in range(decades + 1):
        x = LABEL_PX + decade * step_px
        parts.append(
            f'<line class="line" x1="{x:.0f}" x2="{x:.0f}" y1="{TOP_PX - 6}" y2="{height - 8}"/>'
            f'<text class="note" x="{x:.0f}" y="{TOP_PX - 12}" text-anchor="middle">'
            f"{10**decade:,}</text>"
        )
    for at, row in enumerate(found):
        y = TOP_PX + ROW_PX * at + 20
        long_px = max(2.0, step_px * math.log10(row.times)) if row.times > 1 else 2.0
        parts.append(f'<text x="8" y="{y}">{escape(row.claim)}</text>')
        parts.append(
            f'<rect class="bar" x="{LABEL_PX}" y="{y - 13}" width="{long_px:.0f}" height="17" '
            'rx="3"/>'
        )
        note = f"{row.ours} : {row.theirs}" + (f"  ({times(row)})" if row.times else "")
        x = LABEL_PX + SCALE_PX + 10
        parts.append(f'<text class="note" x="{x}" y="{y}">{escape(note)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def put(text: str, mark: str, content: str) -> str:
    """The page with the content between its marks."""
    begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{content}\n{end}{after}"


def main() -> int:
    for figures in FIGURES:
        found = list(figures.rows())
        page = PAGES / f"{figures.name}-figures.md"
        page.with_suffix(".svg").write_text(picture(figures, found), encoding="utf-8")
        text = put(page.read_text("utf-8"), "figures", table(figures, found))
        for mark, content in figures.tables.items():
            text = put(text, mark, content())
        page.write_text(text, encoding="utf-8")
        print(table(figures, found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
