# SPDX-License-Identifier: Apache-2.0
"""Every method: the same bytes as pamqp's, both ways; broken bytes are told."""

import re
from pathlib import Path
from typing import Any

import pamqp.base
import pamqp.commands
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transom.messaging.proto.amqp import Properties, Unencodable
from transom.messaging.proto.amqp.coding import (
    _LAYOUTS,
    NUMBERS,
    UnknownMethod,
    decode_method,
    encode_method,
)
from transom.messaging.proto.amqp.methods import (
    ANSWERS,
    METHODS,
    BasicAck,
    BasicQos,
    ConnectionClose,
    Method,
    QueueDeclare,
)
from transom.messaging.proto.amqp.properties import decode_properties, encode_properties
from transom.messaging.proto.amqp.wire import BROKEN, Kind

PAGE = Path(__file__).parents[4] / "docs" / "protocol" / "amqp.md"
LEFT_OUT = {
    "Connection.UpdateSecret", "Connection.UpdateSecretOk", "Basic.RecoverAsync",
    "Tx.Select", "Tx.SelectOk", "Tx.Commit", "Tx.CommitOk", "Tx.Rollback", "Tx.RollbackOk",
}  # fmt: skip
NAMES = {"heartbeat_s": "heartbeat", "is_global": "global_", "type": "exchange_type"}
SAMPLES: dict[Kind, tuple[Any, Any]] = {
    Kind.BIT: (False, True),
    Kind.OCTET: (0, 255),
    Kind.SHORT: (0, 65_535),
    Kind.LONG: (0, 2**32 - 1),
    Kind.LONG_LONG: (0, 2**63 - 1),
    Kind.SHORT_TEXT: ("", "a.b"),
    Kind.LONG_BYTES: (b"", b"long"),
    Kind.TABLE: ({}, {"x": 1, "y": "z"}),
}
PLAIN = st.text("abcXYZ019._-", max_size=100)
DRAWN: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.BIT: st.booleans(),
    Kind.OCTET: st.integers(0, 255),
    Kind.SHORT: st.integers(0, 65_535),
    Kind.LONG: st.integers(0, 2**32 - 1),
    Kind.LONG_LONG: st.integers(0, 2**63 - 1),
    Kind.SHORT_TEXT: PLAIN,
    Kind.LONG_BYTES: PLAIN.map(str.encode),
    Kind.TABLE: st.dictionaries(PLAIN, st.integers(-9, 9) | PLAIN | st.booleans(), max_size=4),
}
KINDS = list(METHODS.values())


def name_of(kind: type) -> str:
    return kind.__name__


def made(kind: type[Method], values: dict[Kind, Any]) -> Method:
    return kind(**{name: values[form] for name, form in _LAYOUTS[kind]})


def unchecked(kind: type[pamqp.base.Frame]) -> pamqp.base.Frame:
    """An empty frame of pamqp's; it must not insist on its own idea of reserved fields."""
    free = type(kind.__name__, (kind,), {"validate": lambda self: None})
    return free.__new__(free)  # type: ignore[no-any-return]


def theirs(method: Method) -> pamqp.base.Frame:
    """The method as pamqp has it."""
    frame = unchecked(pamqp.commands.INDEX_MAPPING[NUMBERS[type(method)]])
    for name, form in _LAYOUTS[type(method)]:
        value = getattr(method, name)
        text = value.decode() if form is Kind.LONG_BYTES else value
        setattr(frame, NAMES.get(name, name), text)
    return frame


def check(method: Method) -> None:
    coded = encode_method(method)
    assert decode_method(coded) == method
    frame = theirs(method)
    if not any(form is Kind.TABLE for _, form in _LAYOUTS[type(method)]):
        assert frame.marshal() == coded[4:]
    found = unchecked(pamqp.commands.INDEX_MAPPING[NUMBERS[type(method)]])
    found.unmarshal(coded[4:])
    for name, form in _LAYOUTS[type(method)]:
        value = getattr(found, NAMES.get(name, name))
        if form is Kind.LONG_BYTES:
            value = value.encode()
        assert value == getattr(method, name), name
    again = decode_method(coded[:4] + frame.marshal())
    assert again == method


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_every_method_is_as_pamqp_has_it(kind: type[Method], which: int) -> None:
    check(made(kind, {form: values[which] for form, values in SAMPLES.items()}))


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
@settings(deadline=None)
@given(data=st.data())
def test_any_method_is_as_pamqp_has_it(kind: type[Method], data: st.DataObject) -> None:
    check(kind(**{name: data.draw(DRAWN[form]) for name, form in _LAYOUTS[kind]}))


def test_the_catalogue_is_that_of_pamqp_but_for_what_is_left_out() -> None:
    known = {number: frame.name for number, frame in pamqp.commands.INDEX_MAPPING.items()}
    spoken = {known[number].replace(".", "") for number in METHODS}
    assert {name for number, name in known.items() if number not in METHODS} == LEFT_OUT
    assert spoken == {kind.__name__ for kind in KINDS}
    for request, answers in ANSWERS.items():
        frame = pamqp.commands.INDEX_MAPPING[NUMBERS[request]]
        assert frame.synchronous
        assert [name.replace(".", "") for name in frame.valid_responses] == [
            answer.__name__ for answer in answers
        ]


def test_the_page_lists_the_methods_that_are_spoken() -> None:
    page = PAGE.read_text()
    for number, frame in pamqp.commands.INDEX_MAPPING.items():
        if number in METHODS and not frame.name.endswith("Ok"):
            group, _, name = frame.name.partition(".")
            dashed = re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()
            assert re.search(rf"\| {group.lower()} \|.*\b{dashed}\b", page), frame.name


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_a_method_that_is_cut_short_or_too_long_is_told(kind: type[Method]) -> None:
    coded = encode_method(made(kind, {form: values[1] for form, values in SAMPLES.items()}))
    for end in range(len(coded)):
        with pytest.raises(BROKEN):
            decode_method(coded[:end])
    with pytest.raises(BROKEN):
        decode_method(coded + b"\x00")


def test_an_unknown_method_is_told() -> None:
    with pytest.raises(UnknownMethod, match=r"90\.10 is not spoken here"):
        decode_method(b"\x00\x5a\x00\x0a")


@pytest.mark.parametrize(
    "method",
    [
        BasicQos(prefetch_count=65_536),
        BasicAck(delivery_tag=-1),
        QueueDeclare(queue="x" * 256),
        QueueDeclare(arguments={"x": object()}),
        ConnectionClose(reply_code="none"),  # type: ignore[arg-type]
    ],
)
def test_what_has_no_form_is_refused(method: Method) -> None:
    with pytest.raises(Unencodable):
        encode_method(method)


FULL = Properties(
    content_type="application/json", content_encoding="utf-8", headers={"a": [1, {"b": "c"}]},
    delivery_mode=2, priority=9, correlation_id="c", reply_to="r", expiration="10000",
    message_id="m", timestamp=1_700_000_000, type="t", user_id="u", app_id="a", cluster_id="k",
)  # fmt: skip


def their_properties(coded: bytes) -> dict[str, Any]:
    found = pamqp.commands.Basic.Properties()
    flags = int.from_bytes(coded[:2], "big")
    found.unmarshal(flags, coded[2:])
    values = dict(found)
    stamp = values.pop("timestamp")
    values["timestamp"] = None if stamp is None else int(stamp.timestamp())
    values["type"] = values.pop("message_type")
    values["cluster_id"] = values["cluster_id"] or None  # it has "" where there is none
    return values


def our_properties(properties: Properties) -> dict[str, Any]:
    return {name: getattr(properties, name) for name in Properties.__struct_fields__}


@pytest.mark.parametrize("name", [None, *Properties.__struct_fields__])
def test_properties_are_as_pamqp_has_them(name: str | None) -> None:
    properties = FULL if name is None else Properties(**{name: getattr(FULL, name)})
    coded = encode_properties(properties)
    assert decode_properties(coded) == properties
    assert decode_properties(b"xy" + coded, 2) == properties
    assert their_properties(coded) == our_properties(properties)
    for end in range(len(coded)):
        with pytest.raises(BROKEN):
            decode_properties(coded[:end])


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            **{name: PLAIN.filter(bool) for name in Properties.__struct_fields__},
            "headers": DRAWN[Kind.TABLE],
            "delivery_mode": st.integers(0, 255),
            "priority": st.integers(0, 255),
            "timestamp": st.integers(0, 2**32 - 1),
        },
    )
)
def test_any_properties_are_as_pamqp_has_them(values: dict[str, Any]) -> None:
    properties = Properties(**values)
    coded = encode_properties(properties)
    assert decode_properties(coded) == properties
    assert their_properties(coded) == our_properties(properties)


@pytest.mark.parametrize("coded", [b"\x00\x01", b"\x00\x02", b"\x00\x00more"])
def test_properties_that_nobody_has_defined_are_told(coded: bytes) -> None:
    with pytest.raises(BROKEN):
        decode_properties(coded)


@pytest.mark.parametrize(
    "properties",
    [
        Properties(priority=256),
        Properties(timestamp=-1),
        Properties(delivery_mode="2"),  # type: ignore[arg-type]
        Properties(expiration="1" * 256),
        Properties(headers={"x": object()}),
    ],
)
def test_properties_without_a_form_are_refused(properties: Properties) -> None:
    with pytest.raises(Unencodable):
        encode_properties(properties)
