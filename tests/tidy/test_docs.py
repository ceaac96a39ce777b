# SPDX-License-Identifier: Apache-2.0
"""Pages agree with the code: what is generated is fresh, wire forms can be read, names exist."""

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
from transom.messaging.proto.feed import Limits
from transom.messaging.proto.feed import wire as feed_wire

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
JSON = re.compile(r"^```json\n(.*?)^```$", re.S | re.M)
NAMED = re.compile(r"`((?:src|tests|examples|bench|docs)/[\w/.-]+?\.?\w*)(?:::(\w+))?`")
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("**/*.md"))]


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
    whole, part, head, chunk = map(json.loads, shown("feed.md"))
    for coded in (whole, part):
        again = feed_wire.encode_changes(feed_wire.decode_changes(coded))
        assert json.loads(json.dumps(again)) == coded
    (found,) = feed_wire.decode_beat([{"source": "queue", **head}]).values()
    assert feed_wire.encode_head(found) == head
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
