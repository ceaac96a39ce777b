# SPDX-License-Identifier: Apache-2.0
"""Writes the reference pages that follow from the code, and the README's figures: `make docs`.

Invariant: `pages()` depends on nothing but the source, so a test can compare it with the files.
"""

import argparse
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any
from unittest.mock import patch

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import Metric

from transom import errors
from transom.cli import DATA_DIR_VARIABLE, parser
from transom.cli.parts import DECLARED
from transom.cli.settings import SECTIONS
from transom.errors import CATALOGUE, TransomError
from transom.identity.config import IdentityConfig
from transom.identity.contract import TABLES as IDENTITY_TABLES
from transom.identity.service import build as build_identity
from transom.keys.app.figures import KeyFigures
from transom.keys.config import KeysConfig
from transom.keys.service import build as build_keys
from transom.messaging.counters import Counters
from transom.messaging.schema import Table
from transom.node.figures import BusMetrics
from transom.policy.datalog.builtins import FAMILIES, described
from transom.policy.datalog.builtins.patterns import PATTERN_CHARACTERS_MOST
from transom.policy.datalog.cases.yaml_text import yaml_tree
from transom.policy.datalog.core import Builtin
from transom.policy.datalog.values import INTEGER_BITS_MOST, TEXT_CHARACTERS_MOST
from transom.queue.app.figures import QueueFigures
from transom.queue.config import QueueConfig
from transom.queue.contract import STATS as QUEUE_STATS
from transom.queue.contract import TABLES as QUEUE_TABLES
from transom.queue.deliveries.figures import DeliveryFigures
from transom.queue.model import Place
from transom.queue.service import QueueService
from transom.queue.service import build as build_queue
from transom.queue.store.deliveries import TOTALS, Waiting
from transom.queue.store.overview import Seen
from transom.runtime.clock import SystemClock
from transom.runtime.config import ENVIRONMENT_PREFIX, OptionMeta
from transom.runtime.db.sqlite import SqliteDatabase
from transom.runtime.http.limits import HttpLimits
from transom.runtime.http.openapi import document, documented, part_of
from transom.runtime.http.rates import Rates
from transom.runtime.http.root import root_mount
from transom.runtime.http.route import Mount
from transom.runtime.http.tls import figures as certificate_figures
from transom.runtime.http.visits import Census
from transom.runtime.sealing import sealer_of
from transom.runtime.secrets import Secret
from transom.runtime.telemetry.audit import AuditLog
from transom.runtime.telemetry.collectors import HealthMetrics
from transom.runtime.telemetry.metrics import BUCKETS_S, RequestMetrics
from transom.runtime.telemetry.watchdog import LoopWatchdog

ROOT = Path(__file__).parents[1]
NOTE = "<!-- Written by docs/generate.py (make docs). Change the code, not this page. -->"


def configuration() -> Iterator[str]:
    yield "# Configuration"
    yield ""
    yield (
        "Options stand in `transom.toml` in the data folder (or the file that `--config` names), "
        f"and in environment variables `{ENVIRONMENT_PREFIX}SECTION__OPTION`, which win. An "
        "unknown section or option, a wrong type or a value out of bounds is refused at the "
        "start, all faults at once. [How to configure](../howto/configure.md)."
    )
    for section, kind in SECTIONS.items():
        yield ""
        yield f"## `[{section}]`"
        yield from _paragraphs(kind.__doc__ or "")
        yield ""
        yield from _table(
            ("Option", "Default", "Bounds", "Meaning"),
            (
                _option(field.name, field.default, field.metadata["option"])
                for field in fields(kind)
            ),
        )


def _option(name: str, default: Any, meta: OptionMeta) -> tuple[str, ...]:
    bounds = ""
    if meta.least is not None and meta.most is not None:
        bounds = f"{meta.least:,} to {meta.most:,}"
    elif meta.least is not None:
        bounds = f"from {meta.least:,}"
    elif meta.most is not None:
        bounds = f"up to {meta.most:,}"
    if meta.choices:
        bounds = ", ".join(str(choice) for choice in meta.choices)
    unit = f" ({meta.unit})" if meta.unit else ""
    meaning = meta.meaning[0].upper() + meta.meaning[1:]
    return f"`{name}`", f"`{_toml(default)}`", bounds, meaning.rstrip(".") + unit


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Secret):
        return '""'
    return f'"{value}"' if isinstance(value, str) else str(value)


def error_codes() -> Iterator[str]:
    yield "# Errors"
    yield ""
    yield (
        "One tree of errors, whose class says who erred, and a catalogue that says how each looks "
        "from outside. `code` is stable. What is not in the table looks as its nearest ancestor "
        "that is."
    )
    yield ""
    yield "```text"
    yield from _tree(TransomError, "", "")
    yield "```"
    yield ""
    rows = sorted(CATALOGUE.items(), key=lambda pair: (pair[1].status, pair[0].__name__))
    yield from _table(
        ("Status", "Code", "Class", "Worth sending again", "Text where nothing better is known"),
        (
            (str(at.status), f"`{at.code}`", f"`{kind.__name__}`", _yes(at.retryable), at.text)
            for kind, at in rows
        ),
    )
    yield ""
    yield (
        "Every answer bears `X-Openstack-Request-Id`; the log has the same id. 503 comes with "
        "`Retry-After`. The body has the form of the API: Keystone's below `/identity`, Zaqar's "
        'below `/queue`, else `{"error": {"code", "status", "message", "request_id"}}`.'
    )


def _tree(kind: type[TransomError], first: str, rest: str) -> Iterator[str]:
    says = (kind.__doc__ or "").strip().splitlines()[0]
    yield f"{first}{kind.__name__}: {says}"
    below = [
        one for one in vars(errors).values() if isinstance(one, type) and kind in one.__bases__
    ]
    for one in below:
        last = one is below[-1]
        yield from _tree(
            one, f"{rest}{'└── ' if last else '├── '}", rest + ("    " if last else "│   ")
        )


def commands() -> Iterator[str]:
    yield "# The `transom` command"
    yield ""
    yield (
        "Every command takes the two options of the folder. Status 0 is success; 1 says on "
        "standard error what is wrong and what to do; 2 is a wrong command line."
    )
    with patch.dict(os.environ, {"XDG_DATA_HOME": "~/.local/share"}):
        os.environ.pop(DATA_DIR_VARIABLE, None)
        root = parser()
    found = dict(_commands(root, ()))
    everywhere = set.intersection(*({row[0] for row in _options(one)} for one in found.values()))
    yield ""
    some = next(iter(found.values()))
    yield from _table(
        ("Option of all", "Meaning"), (row for row in _options(some) if row[0] in everywhere)
    )
    for name, command in found.items():
        yield ""
        yield f"## `transom {name}`"
        yield ""
        yield command.description or ""
        own = [row for row in _options(command) if row[0] not in everywhere]
        if own:
            yield ""
            yield from _table(("Option", "Meaning"), own)


def _commands(
    parser: argparse.ArgumentParser, words: tuple[str, ...]
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    below = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    if not below:
        yield " ".join(words), parser
    for action in below:
        for word, command in action.choices.items():
            yield from _commands(command, (*words, word))


def _options(parser: argparse.ArgumentParser) -> list[tuple[str, str]]:
    rows = []
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        takes = "" if action.nargs == 0 else f" {(action.metavar or action.dest).upper()}"
        shown = ", ".join(f"`{name}{takes}`" for name in action.option_strings)
        meaning = (action.help or "").replace("%(default)s", str(action.default))
        rows.append((shown or f"`{(action.metavar or action.dest).upper()}`", meaning))
    return rows


def metrics() -> Iterator[str]:
    yield "# Metrics"
    yield ""
    yield (
        "`GET /metrics` on the port of the doors answers in the text format of Prometheus, without "
        "a token. The figures are those of the process that answers; with several "
        "[workers](../howto/run-several-api-workers.md) the sums of all, and a gauge has the label "
        "`process`."
    )
    yield ""
    yield from _table(
        ("Name", "Kind", "Labels", "Meaning"),
        (
            (
                f"`{found.name}{'_total' if found.type == 'counter' else ''}`",
                found.type,
                ", ".join(f"`{label}`" for label in found.samples[0].labels if label != "le"),
                found.documentation,
            )
            for found in _figures()
        ),
    )
    yield ""
    yield (
        "`mount` is the prefix (`/queue`), `status` 0 a caller that went away before its answer. "
        f"Buckets of the histogram end at {', '.join(f'{bound:g}' for bound in BUCKETS_S)} s. "
        "Rates are there where a limit is set, the certificate's where the doors speak TLS, depths "
        "and ages in the one process that looks at all queues, those of the deepest where "
        "`[queue] stats_queues` is set. "
        "[How to watch them](../howto/monitor.md)."
    )


def _figures() -> Iterator[Metric]:
    """Everything that a process can show, each with a sample."""
    doors = RequestMetrics()
    meter = doors.meter("/queue", "GET")
    meter.began()
    meter.ended(200, 0.001)
    yield from doors.collect()
    yield from BusMetrics(_counted()).collect()
    limits = HttpLimits(project_requests_per_s=1.0, address_requests_per_s=1.0)
    yield from Rates(limits, SystemClock()).collect()
    yield from Census(limits).collect()
    yield from HealthMetrics({"queue": str}, LoopWatchdog()).collect()
    yield from AuditLog(Path("nowhere"), file_bytes=0, old_files=0).collect()
    yield from certificate_figures(0.0, 0)
    keys = KeyFigures()
    keys.given("ticket")
    yield from keys.collect()
    queues = QueueFigures(20)
    queues.saw([Seen(Place("project", "queue"), 1, 0, 0, 0, 0, 1, 0)], 0)
    yield from queues.collect()
    delivered = DeliveryFigures(_queue().stores, SystemClock(), 1.0)
    delivered.saw(dict.fromkeys(TOTALS, 0), Waiting(0, None, 0))
    yield from delivered.collect()
    yield from ProcessCollector(namespace="transom", registry=None).collect()


def _counted() -> Counters:
    """Counters of which each has counted something."""
    counters = Counters()
    counters.sent["topic"].ended("answered", 0.001)
    counters.sent["topic"].cast("taken")
    counters.served["topic"].ended("answered", 0.001)
    counters.heard["topic"].became("acknowledged")
    counters.replicated["source"].asked("since")
    counters.refused["Downgraded"] = 1
    return counters


def routes() -> Iterator[str]:
    yield "# Routes of identity, of the key server and of the port's root"
    yield ""
    yield (
        "HEAD is served wherever GET is. What identity offers and to whom: "
        "[identity](identity.md). The queue's calls: [the queue](queue.md). With all that each "
        "takes and answers, as OpenAPI: [identity](openapi/identity.json), "
        "[the queue](openapi/queue.json), [the key server](openapi/keys.json), "
        "[the root](openapi/root.json); "
        "[how to use them](../howto/use-the-openapi-document.md)."
    )
    for mount in (identity_mount(), keys_mount(), _root()):
        yield ""
        yield f"## `{mount.prefix or '/'}`"
        yield ""
        yield from _table(
            ("Method", "Path", "What it does"),
            ((at.method, f"`{mount.prefix + at.path or '/'}`", at.summary) for at in mount.routes),
        )


def builtins() -> Iterator[str]:
    yield "# Builtins of the policy language"
    yield ""
    yield (
        "A builtin is a literal of a body that is computed, not looked up: "
        '`old(vm) :- servers(vm, t), datetime_lt(t, "2026-01-01")`. Its inputs have to be bound by '
        "other literals, wherever those stand; what it gives is bound by it, or compared where it "
        "is bound already or a constant. `builtin:plus(x, y, z)` is `plus(x, y, z)`."
    )
    yield ""
    yield (
        "A builtin that fails is neither true nor false: the row is left out, with `not` before "
        "the literal and without, and a diagnostic says why. The results are values of the "
        'language\'s four kinds, `1`, `1.0`, `true` and `"1"`; an integer has at most '
        f"{INTEGER_BITS_MOST} bits, a text {TEXT_CHARACTERS_MOST:,} characters."
    )
    for family, members in FAMILIES.items():
        yield ""
        yield f"## {family}"
        yield ""
        yield from _table(
            ("Literal", "Gives", "Holds, or says", "Fails", "Holds, for example"),
            (_builtin(member) for member in members),
        )
    yield ""
    yield "## The time"
    yield ""
    yield (
        "The time is no builtin but tables of one row, so that what depends on it is kept true as "
        "it passes. `builtin:now(t)` reads `time:now`. Ask for the coarsest that will do: a rule "
        "that reads `time:day` is computed anew once a day."
    )
    yield ""
    yield from _table(
        ("Literal", "Its row"),
        (
            ("`builtin:now(t)`, `time:now(t)`", "the time in UTC, as `2026-01-01 10:20:30`"),
            ("`time:minute(t)`, `time:hour(t)`, `time:day(t)`", "the same, cut off"),
        ),
    )
    yield ""
    yield "## Texts that are read"
    yield ""
    yield (
        "Dates and times: ISO 8601 (`2014-01-01T10:00:00.5+01:00`, a blank for the T, fields of "
        "one digit, `20140101T100000Z`), `Jan 1, 2014 10:00:00` and what e-mail has "
        "(`Wed, 1 Jan 2014 10:00:00 +0000`). An offset is applied, a text without one is in UTC, "
        "a date alone is its midnight. Nothing is filled in from today."
    )
    yield ""
    yield (
        "Regular expressions are those of [RE2](https://github.com/google/re2/wiki/Syntax), which "
        "take time linear in the text; so there are no back-references and no look-around. A "
        f"pattern has at most {PATTERN_CHARACTERS_MOST:,} characters."
    )
    yield ""
    yield (
        "Of IPv4 and IPv6 neither equals, holds nor overlaps the other, and they have no order; an "
        "IPv4 address written as IPv6 (`::ffff:192.0.2.1`) is one of IPv6. Bits behind a network's "
        "prefix do not matter; without a prefix it is one address."
    )
    yield ""
    yield "## Where they differ from Congress"
    yield ""
    for difference in BUILTIN_DIFFERENCES:
        yield f"- {difference}"


BUILTIN_DIFFERENCES = (
    'What fails there counts as false, so `not lt("a", 5)` holds; here it fails as well.',
    "Texts and truth values are no numbers: `plus` joins no texts, `lt(true, 2)` fails.",
    "What a builtin gives is compared by kind and value: `plus(2, 3, 5.0)` does not hold.",
    "Offsets of times are applied, not dropped, and only the forms above are read.",
    "`pack_date` and its like take only what is a date; a duration has no signs.",
    "`networks_overlap` is the same both ways.",
    "Addresses are texts; one with a zone (`fe80::1%eth0`) is none.",
    "`validate_int` and its like have texts of their own for what is wrong.",
    "To them `5.5` and `true` are no integers, `nan` is no number and null no text.",
    "Their wrong bounds, patterns and flags are failures, not faults of the value.",
)


def _builtin(member: Builtin) -> tuple[str, ...]:
    at = described(member)
    given = ", ".join(f"`{name}`" for name in at.arguments[member.inputs :])
    literal = f"`{member.name}({', '.join(at.arguments)})`"
    says = f"{at.meaning} {at.more}".rstrip()
    return literal, given, says, at.fails, f"`{at.example}`"


def documents() -> dict[str, str]:
    """File name -> OpenAPI document."""
    mounts = [
        documented(mount) for mount in (identity_mount(), queue_mount(), keys_mount(), _root())
    ]
    return {
        f"docs/reference/openapi/{part_of(mount)}.json": json.dumps(document(mount), indent=1)
        + "\n"
        for mount in mounts
    }


def _root() -> Mount:
    return root_mount([], {}, CollectorRegistry())


def queue_mount() -> Mount:
    return _queue().mount


def _queue() -> QueueService:
    """Built and never started: nothing is opened or made."""
    clock = SystemClock()
    database = SqliteDatabase(Path("nowhere"), [], clock=clock)
    return build_queue(QueueConfig(), database, clock=clock, random=os.urandom)


def keys_mount() -> Mount:
    """As `_queue`."""
    clock = SystemClock()
    return build_keys(
        KeysConfig(),
        SqliteDatabase(Path("nowhere"), [], clock=clock),
        sealer=sealer_of(Path("nowhere"), Secret(""), os.urandom),
        clock=clock,
        random=os.urandom,
    ).mount


def identity_mount() -> Mount:
    """As `_queue`."""
    identity = build_identity(
        IdentityConfig(),
        SqliteDatabase(Path("nowhere"), [], clock=SystemClock()),
        data=Path("nowhere"),
        public_url="http://127.0.0.1:8720",
        catalogue=[],
        clock=SystemClock(),
        random=os.urandom,
    )
    return identity.mount


def rules() -> Iterator[str]:
    yield "# Access rules"
    yield ""
    yield (
        "Each call is guarded by a rule, which operators change in the part's policy file: "
        "[change who may do what](../howto/change-who-may-do-what.md). `transom config rules PART` "
        "prints them as the beginning of such a file. Paths are below the part's endpoint. In "
        "`%(...)s` stand the attributes of the target; where there are none, a rule can only look "
        "at the caller."
    )
    for part, declared in DECLARED.items():
        yield ""
        yield f"## `{part}`"
        yield ""
        yield from _table(
            ("Rule", "Default", "What it is for", "Guards", "Target", "Scope"),
            (
                (
                    f"`{at.name}`",
                    f"`{at.text}`" if at.text else "everybody",
                    at.meaning,
                    ", ".join(f"`{operation}`" for operation in at.operations),
                    ", ".join(f"`{name}`" for name in at.targets),
                    at.scope,
                )
                for at in declared
            ),
        )


def tables() -> Iterator[str]:
    yield "# Live tables"
    yield ""
    yield (
        "What parts publish on the bus; `transom tables watch NAME` shows one. Rows of a table "
        "for projects are for the project in its owner column, and for admins. "
        "[How they work](../explanation/feeds-and-leases.md)."
    )
    for table in (*IDENTITY_TABLES, *QUEUE_TABLES, QUEUE_STATS):
        yield ""
        yield f"## `{table.name}`"
        yield ""
        yield _facts(table)
        yield ""
        yield from _table(
            ("Column", "Kind", "Meaning"),
            ((f"`{at.name}`", at.kind.value, at.meaning) for at in table.columns),
        )


def _facts(table: Table) -> str:
    key = ", ".join(f"`{name}`" for name in table.key)
    owner = f"owner `{table.owner}`" if table.owner else "no owner"
    return f"Key {key}; {owner}; for {table.audience.value}; version {table.version}."


def figures() -> Iterator[str]:
    """What the README says of speed, from what the benches wrote last."""

    def result(name: str) -> Any:
        return json.loads((ROOT / "bench" / "results" / f"{name}.json").read_text())

    door = result("http")
    token = result("token_check")["median"]
    rule = max(result("rules")["rules"].values(), key=lambda one: one["ours"])
    commit = result("group_commit")["callers"]["64"]
    depth = result("queue_claim_depth")
    calls = result("zmq_calls")["callers"]["64"]
    ours_calls = calls.get("transom zmq") or calls["transom"]
    ours, bare = door["median"]["door"], door["median"]["bare"]
    stack = result("start")
    start, memory = stack["start"], stack["memory_mib"]
    kills = {row["campaign"]: row for row in result("proof")}
    killed = kills["kill api"]
    policy = result("policy_against_peers")["sizes"]["2500000"]
    yield from _table(
        ("Claim", "Here", "Beside it", "Again with"),
        (
            (
                "CPU of a JSON post through the door",
                f"{ours:.0f} µs",
                f"{bare:.0f} µs: bare falcon and uvicorn ({door['ratio']:.2f} times)",
                "`bench.http.door`",
            ),
            (
                "A check of a known token; of an access rule, the dearest of five",
                f"{token['transom']:.1f} µs; {rule['ours']:.1f} µs",
                f"{token['check']:.0f} µs: keystonemiddleware; {rule['oslo']:.0f} µs: oslo.policy",
                "`bench.http.token_check`, `bench.http.rules`",
            ),
            (
                "Durable writes, 64 callers",
                f"{_round(commit['ours']['writes_s'])}/s, p99 {commit['ours']['p99_ms']:.1f} ms",
                f"{_round(commit['bare']['writes_s'])}/s: a bare group-commit loop",
                "`bench.db.group_commit`",
            ),
            (
                f"A claim of 20 with {depth['deep']:,} messages waiting",
                f"{depth['claim_20_ms']['deep']:.2f} ms",
                f"{depth['claim_20_ms']['shallow']:.2f} ms with a thousand",
                "`bench.queue.claim_depth`",
            ),
            (
                "Calls between processes, 64 callers",
                f"{_round(ours_calls['calls_per_s'])}/s",
                f"{_round(calls['bare pyzmq']['calls_per_s'])}/s: bare pyzmq, no guarantees",
                "`bench.messaging.zmq_calls`",
            ),
            (
                "A changed row to its violation, at 2,500,000 rows",
                f"{policy['transom']['insert_us']:.0f} µs",
                f"{policy['SQLite']['insert_us']:.0f} µs: SQLite, SQL by hand",
                "`bench.policy.against_peers`",
            ),
            (
                "`transom up` to ready; all processes, idle",
                f"{start['used_s']:.1f} s; {memory:.0f} MiB (PSS)",
                f"{start['imports_s']:.1f} s: importing the code",
                "`bench.stack.start`",
            ),
            (
                f"The doors' process killed {killed['rounds']} times under load",
                f"{len(killed['faults'])} acknowledged effects lost or doubled",
                f"back in {killed['figures']['back_median_s']:.1f} s (median)",
                "`make proof`",
            ),
        ),
    )


def _round(value: float) -> str:
    """Two digits: more is noise."""
    digits = len(str(int(value))) - 2
    return f"{round(value, -digits):,.0f}"


def _with_figures(readme: str) -> str:
    before, begin, rest = readme.partition("<!-- figures -->\n")
    _, end, after = rest.partition("<!-- /figures -->")
    return before + begin + "\n".join([*figures(), ""]) + end + after


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def _paragraphs(text: str) -> Iterator[str]:
    yield ""
    yield " ".join(text.split())


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def policies() -> Iterator[str]:
    library = ROOT / "src" / "transom" / "policy" / "library"
    headers = {path.parent.name: _header(path) for path in sorted(library.glob("*/policy.dl"))}
    yield "# The policy library"
    yield from _paragraphs(
        """Policies for operators of OpenStack, each with cases that try every rule of it, in
        `src/transom/policy/library`. Copy the folder of one and `schema.yaml` beside it, put your
        own into its settings, and `transom policy test` it:
        [how to write a policy](../howto/write-a-policy.md)."""
    )
    yield ""
    yield "| Policy | Finds |"
    yield "|---|---|"
    for name, header in headers.items():
        yield f"| [`{name}`](#{name}) | {_lower(header[''])} |"
    yield from _paragraphs(
        """All of them say what is wrong in one shape, so that rows of many policies make one list:
        `error(id, name, owner, reason, detail)`, and `warning` with the same columns for what
        should be looked at. `owner` is the project; of a project it is the domain, of a user where
        the role holds. The reason is a text that stays the same, and the detail says what it is
        about. No column holds what changes while the fault does not: a row that changes is a
        fault that ended and a new one."""
    )
    for name, header in headers.items():
        yield ""
        yield f"## {name}"
        yield ""
        yield header[""]
        yield ""
        yield f"{header['Why'][:1].upper()}{header['Why'][1:]}"
        yield ""
        yield "| | |"
        yield "|---|---|"
        for part in ("Rows", "Reads", "Settings", "To change it"):
            yield f"| {part} | {_code(header[part])} |"
    tree = yaml_tree((library / "schema.yaml").read_text("utf-8"), "schema.yaml")
    yield ""
    yield "## Tables of a cloud"
    yield from _paragraphs(
        """What the policies read, and what the sources of a cloud are to publish. Tables and
        columns that Congress had are called as there; a list inside an object is a table of its
        own. Name columns in rules (`nova:servers(id=vm, status="ERROR")`): their order may grow.
        What a service does not say is null."""
    )
    for table, columns in tree.items():
        yield ""
        yield f"### `{table}`"
        yield ""
        yield from _table(
            ("Column", "Kind", ""),
            ((f"`{column}`", *_said(said)) for column, said in columns.items()),
        )


def _header(path: Path) -> Mapping[str, str]:
    """The parts of the comment on top, by the word before their colon; "": the first sentence."""
    parts: dict[str, list[str]] = {"": []}
    part = ""
    for line in path.read_text("utf-8").splitlines()[1:]:
        if not line.startswith("//"):
            break
        text = line.removeprefix("//").strip()
        word, colon, rest = text.partition(": ")
        if colon and word in ("Why", "Rows", "Reads", "Settings", "To change it"):
            part, text = word, rest
        parts.setdefault(part, []).append(text)
    return {part: " ".join(lines).strip() for part, lines in parts.items()}


def _said(said: str) -> tuple[str, str]:
    kind, _, rest = said.partition(", ")
    return kind, rest


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:].removesuffix(".")


def _code(text: str) -> str:
    """With tables and rows as code, where they are not yet."""
    pattern = r"`[^`]*`|\bexecute\[[^\]]*\]|\b[a-z_]+:[a-z_.]*[a-z_]\b|\b[a-z_]+\([^()]*\)"
    return re.sub(pattern, lambda found: f"`{found[0].strip('`')}`", text)


PAGES: Mapping[str, Callable[[], Iterator[str]]] = {
    "configuration.md": configuration,
    "errors.md": error_codes,
    "cli.md": commands,
    "metrics.md": metrics,
    "routes.md": routes,
    "rules.md": rules,
    "tables.md": tables,
    "policy-builtins.md": builtins,
    "policy-library.md": policies,
}


def pages() -> dict[str, str]:
    """File name -> its text."""
    whole = {
        f"docs/reference/{name}": "\n".join([NOTE, *page(), ""]) for name, page in PAGES.items()
    }
    readme = _with_figures((ROOT / "README.md").read_text())
    return {"README.md": readme, **whole, **documents()}


if __name__ == "__main__":
    for name, text in pages().items():
        (ROOT / name).write_text(text)
