# SPDX-License-Identifier: Apache-2.0
"""Pages agree with the code: what is generated is fresh, wire forms can be read, names exist."""

import ast
import importlib.util
import json
import re
import struct
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from transom.messaging.drivers.base import Address, Kind
from transom.messaging.drivers.zmq import registry_wire, wire
from transom.messaging.envelope import (
    decode_failure,
    decode_notification,
    decode_reply,
    decode_request,
    encode_failure,
    encode_notification,
    encode_reply,
    encode_request,
    seal,
    unseal,
)
from transom.messaging.proto.feed import Limits, oversize
from transom.messaging.proto.feed import wire as feed_wire
from transom.messaging.schema import encode_tables
from transom.queue.contract import QUEUES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
JSON = re.compile(r"^```json\n(.*?)^```$", re.S | re.M)
NAMED = re.compile(r"`((?:src|tests|examples|bench|docs)/[\w/.-]+?\.?\w*)(?:::(\w+))?`")
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.glob("**/*.md"))]
LINK = re.compile(r"\]\(([^)#\s]+)")
MODULE = re.compile(r"`([\w/]+(?:/|\.py))`")
VARIABLE = re.compile(r"\.\.\.|'[^']*'|\[[^\]]*\]|\d+|\S+\.\S+|TRANSOM_\w+:?|[()]")
"""What stands in a message in place of what differs from one to another."""
LINES_MOST = {"README.md": 80, "ARCHITECTURE.md": 100, "STYLE.md": 50}
"""A screen or a page: what does not fit belongs into docs."""


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shown(name: str) -> list[str]:
    return JSON.findall((DOCS / "protocol" / name).read_text())


def test_generated_pages_are_what_the_code_says(generate: ModuleType) -> None:
    stale = [
        name
        for name, text in generate.pages().items()
        if (generate.ROOT / name).read_text("utf-8") != text
    ]
    assert not stale, f"run: make docs ({', '.join(stale)})"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_tests_that_a_page_names_are_there(page: Path) -> None:
    for path, test in NAMED.findall(page.read_text()):
        assert (ROOT / path).exists(), f"{page.name} names {path}"
        if test:
            assert re.search(rf"def {test}\b", (ROOT / path).read_text()), f"{path} has no {test}"


def test_every_page_is_listed_and_none_twice() -> None:
    named = LINK.findall((DOCS / "README.md").read_text())
    pages = [path.relative_to(DOCS).as_posix() for path in (*DOCS.glob("*/*.md"),
             *DOCS.glob("reference/openapi/*"))]  # fmt: skip
    missing = {name for name in pages if not name.startswith("decisions/")} - set(named)
    assert not missing, f"docs/README.md does not list {missing}"
    assert len(named) == len(set(named))


@pytest.mark.parametrize("name", LINES_MOST)
def test_what_is_read_first_stays_short(name: str) -> None:
    assert len((ROOT / name).read_text().splitlines()) <= LINES_MOST[name]


def test_what_the_architecture_points_to_is_there() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    rows = text[text.index("where do I find") :].partition("## ")[0]
    named = MODULE.findall(rows)
    assert len(named) > 10
    gone = [name for name in named if not (ROOT / "src" / "transom" / name).exists()]
    assert not gone


def test_each_promise_has_its_tests() -> None:
    _, *sections = (DOCS / "explanation" / "promises.md").read_text().split("\n## ")
    for number, section in enumerate(sections, 1):
        assert section.startswith(f"{number}. ")
        assert any(test for _, test in NAMED.findall(section)), f"no test holds {section[:60]}"
    assert len(sections) >= 8


def said_by_the_code() -> str:
    """Every text in the source, adjacent literals joined."""
    trees = [ast.parse(path.read_text()) for path in (ROOT / "src").rglob("*.py")]
    texts = [at.value for tree in trees for at in ast.walk(tree) if isinstance(at, ast.Constant)]
    return "\n".join(text for text in texts if isinstance(text, str))


def test_the_failures_that_are_explained_are_those_that_are_told() -> None:
    page = (DOCS / "howto" / "when-things-break.md").read_text()
    told = [line.split("|")[1] for line in page.splitlines() if line.startswith("| ")]
    texts = [text for cell in told for text in re.findall(r"`([^`]+)`", cell)]
    said = said_by_the_code()
    unsaid = [
        text
        for text in texts
        if not any(len(piece) > 6 and piece.strip() in said for piece in VARIABLE.split(text))
    ]
    assert not unsaid, f"nothing in the code says {unsaid}"
    assert len(texts) > 20


def test_the_messages_shown_are_those_of_the_code() -> None:
    envelope, request, reply, failure, notification = shown("envelope.md")
    assert json.loads(envelope).keys() == json.loads(seal({})).keys()

    def sealed(text: str) -> bytes:
        return json.dumps({"oslo.version": "2.0", "oslo.message": text}).encode()

    for text, decode, encode in (
        (request, decode_request, encode_request),
        (reply, decode_reply, encode_reply),
        (notification, decode_notification, encode_notification),
    ):
        again = unseal(encode(decode(sealed(text))))  # type: ignore[operator]
        wanted = {key: value for key, value in json.loads(text).items() if key != "namespace"}
        assert again == wanted
    assert json.loads(encode_failure(decode_failure(failure))) == json.loads(failure)


def test_the_feeds_forms_shown_are_those_of_the_code() -> None:
    whole, part, head, idle, cut, chunk, schema = map(json.loads, shown("feed.md"))
    for coded in (whole, part):
        again = feed_wire.encode_changes(feed_wire.decode_changes(coded))
        assert json.loads(json.dumps(again)) == coded
    for coded in (head, idle):
        (found,) = feed_wire.decode_beat([{"source": "queue", **coded}]).values()
        assert feed_wire.encode_head(found) == coded
    big = {"name": "big", "body": "x" * 300_000}
    carried, _ = oversize.carried("queue:queues", ("big",), big)
    assert {**cut, oversize.OVERSIZE: None} == {**carried, oversize.OVERSIZE: None}
    assert cut[oversize.OVERSIZE].keys() == carried[oversize.OVERSIZE].keys()
    (told,) = encode_tables([QUEUES])
    assert schema.keys() == told.keys()
    assert schema["columns"][0].keys() == told["columns"][0].keys()
    again = feed_wire.encode_chunk(*feed_wire.decode_chunk(chunk))
    assert json.loads(json.dumps(again)) == chunk
    page = " ".join((DOCS / "protocol" / "feed.md").read_text().split())
    limits = Limits()
    for figure in (f"{limits.buffer_changes:,} changes", f"({limits.since_sets} change",
                   f"({limits.chunk_rows} rows", f"{limits.live_s:g} s"):  # fmt: skip
        assert figure in page, figure


def test_the_frames_of_zmq_are_as_the_page_says() -> None:
    page = (DOCS / "protocol" / "zmq.md").read_text()
    for frame in wire.Frame:
        assert f"| {frame.value} {frame.name} |" in page
    record = wire.Record(b"a", b"bc", 1.5)
    assert wire.encode_data(7, [record], (b"p.1", b"r")) == b"\x01\x02" + struct.pack(
        "!QHI3sc", 7, 3, 1, b"p.1", b"r"
    ) + struct.pack("!dHI", 1.5, 1, 2) + b"abc"  # fmt: skip
    receipt = wire.Receipt(3, 9, (4,), (5,), ((6, wire.Refusal.LATE),))
    assert wire.encode_receipt(wire.Frame.WHOLE, receipt) == b"\x01\x04" + struct.pack(
        "!QQIIIQQQB", 3, 9, 1, 1, 1, 4, 5, 6, 2
    )
    registered = registry_wire.encode(registry_wire.Register(1, 2, (Address(Kind.TOPIC, "a"),)))
    address = {"kind": "topic", "name": "a", "part": "", "exchange": "", "pool": ""}
    assert msgspec.msgpack.decode(registered) == ["Register", 1, 2, [address]]
    packed = wire.AddressCode().encode(Address(Kind.TOPIC, "a"))
    assert msgspec.msgpack.decode(packed) == ["topic", "a", "", "", ""]
    for kind in (*registry_wire.Request.__args__, *registry_wire.Reply.__args__):
        fields = ", ".join(kind.__struct_fields__)
        assert f"`{kind.__name__}({fields})`" in page
