# SPDX-License-Identifier: Apache-2.0
"""What is sealed opens at its place as it was, and nowhere and nothing else does."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from transom.errors import InvalidCertificate, InvalidSignature, SecurityError, WrongDestination
from transom.messaging.security import reading
from transom.messaging.security.certificates import Certificate
from transom.messaging.security.freshness import STREAM_BYTES
from transom.messaging.security.message import (
    HEAD,
    LEAVES_MAX,
    LENGTH,
    MAGIC,
    NONCE_BEGIN,
    Form,
    Metadata,
    Mode,
    Way,
    Writer,
    signed,
)
from transom.messaging.security.opening import Opener
from transom.messaging.security.reading import (
    PROOFS_MAX,
    TRACKS_MAX,
    Opened,
    Reader,
    Replayed,
    claimed,
)
from transom.messaging.security.sealing import pack, write
from transom.messaging.security.sessions import PUBLIC_KEY, SHARED_KEY, Place, Role, Session

from support.security_parts import BACK, GROUP, INSTANCE, NOW_MS, PAIR, Parts, take
from support.security_parts import sealed as seal

ENVELOPE = b'{"oslo.version":"2.0","oslo.message":"{\\"method\\":\\"x\\"}"}'
PARTS = {suite: Parts(suite) for suite in (SHARED_KEY, PUBLIC_KEY)}
both = pytest.mark.parametrize("suite", [SHARED_KEY, PUBLIC_KEY])
each = pytest.mark.parametrize("mode", [Mode.SIGN, Mode.ENCRYPT])
everywhere = pytest.mark.parametrize("place", [PAIR, GROUP], ids=["pair", "group"])


def reader(opener: Opener, *places: Place) -> Reader:
    return Reader(opener, dict.fromkeys(places, ("", "")))


def opened(opener: Opener, data: bytes, *places: Place) -> Opened:
    found = reader(opener, *places).decode(data, NOW_MS)
    assert found is not None
    return found


@both
@each
@everywhere
@pytest.mark.parametrize(
    "body",
    [ENVELOPE, b'{"oslo.version": "2.0", "oslo.message": "{}", "more": 1}', b'{"event_type":"x"}',
     b"", b"text \xc3\xa4", b"\xff\x00bytes", b"\xff", b"}", b'{"oslo.version"', b'{"a":"b"}'],
    ids=repr,
)  # fmt: skip
def test_what_is_sealed_opens_as_it_was(suite: str, mode: Mode, place: Place, body: bytes) -> None:
    parts = PARTS[suite]
    way = parts.way(parts.session(place), place)
    data = seal(way, body, mode)
    found = opened(parts.work, data, place, BACK)
    assert found.body == body
    metadata = found.metadata
    assert (metadata.source, metadata.place) == ("api.a", place)
    assert (found.counter, found.sent_ms, found.deadline_ms) == (1, NOW_MS, 0)
    assert metadata.reply_to == "reply_api"
    assert claimed(data) == "api.a"
    if mode is Mode.ENCRYPT:
        assert len(body) < 2 or body not in data
    else:
        assert json.loads(data)["oslo.version"] == "2.0"


@given(body=st.binary(max_size=300), counter=st.integers(0, 2**63))
def test_whatever_the_body_it_comes_back(body: bytes, counter: int) -> None:
    parts = PARTS[SHARED_KEY]
    way = parts.way(parts.session(PAIR), PAIR)
    for mode in (Mode.SIGN, Mode.ENCRYPT):
        assert opened(parts.work, seal(way, body, mode, counter=counter), PAIR).body == body


@both
@each
@everywhere
def test_every_altered_byte_is_refused(suite: str, mode: Mode, place: Place) -> None:
    """Or, where the marks of its security are hit, it counts as a message without any."""
    parts = PARTS[suite]
    data = seal(parts.way(parts.session(place), place), ENVELOPE, mode)
    read = reader(parts.work, place)
    assert read.decode(data, NOW_MS) is not None
    for at in range(len(data)):
        for flip in (1, 32, 128):
            altered = data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
            try:
                assert read.decode(altered, NOW_MS) is None
            except SecurityError:
                continue
    for cut in range(len(data)):
        try:
            assert read.decode(data[:cut], NOW_MS) is None
        except SecurityError:
            continue


@given(st.binary(max_size=80))
def test_whatever_the_bytes_they_are_refused_or_have_no_security(data: bytes) -> None:
    read = reader(PARTS[SHARED_KEY].work, PAIR)
    for tried in (
        data,
        MAGIC + data,
        MAGIC + LENGTH.pack(len(data)) + data,
        MAGIC + LENGTH.pack(2 * len(data) + 12) + pack(data, data),
        b'{"a":1,"transom.head":"' + data + b'","transom.security":"' + data + b'"}',
    ):
        claimed(tried)
        try:
            assert read.decode(tried, NOW_MS) is None
        except SecurityError:
            continue


@both
@each
@everywhere
@pytest.mark.parametrize("field", Metadata.__struct_fields__)
def test_every_field_of_the_metadata_is_bound(
    suite: str, mode: Mode, place: Place, field: str
) -> None:
    parts = PARTS[suite]
    data = seal(parts.way(parts.session(place), place), ENVELOPE, mode)
    others = {
        "suite": PUBLIC_KEY if suite == SHARED_KEY else SHARED_KEY,
        "mode": Mode.ENCRYPT if mode is Mode.SIGN else Mode.SIGN,
        "form": Form.TEXT,
        "role": Role.REPLY,
        "source": "work.h2",
        "destination": "work.h2",
        "session": bytes(16),
        "instance": bytes(16),
        "kind": "server" if place is GROUP else "topic",
        "name": "other",
        "answers": b"x",
    }
    taken = take(data)
    value = getattr(taken.of(), field)
    other = others[field] if field in others else value + (1 if isinstance(value, int) else "x")
    bad = taken._replace(metadata=write(replace(taken.of(), **{field: other})))
    with pytest.raises(SecurityError):
        opened(parts.work, bad.put(), place, bad.of().place)


@both
@each
@everywhere
def test_counter_and_times_are_bound(suite: str, mode: Mode, place: Place) -> None:
    parts = PARTS[suite]
    data = seal(parts.way(parts.session(place), place), ENVELOPE, mode)
    read = reader(parts.work, place)
    assert read.decode(data, NOW_MS) is not None
    taken = take(data)
    for at in range(24):
        times = bytearray(taken.times)
        times[at] ^= 1
        with pytest.raises(InvalidSignature):
            read.decode(taken._replace(times=bytes(times)).put(), NOW_MS)


@each
def test_the_head_of_one_message_opens_none_with_another(mode: Mode) -> None:
    """Also where both are known: what is remembered is found by all of the head."""
    parts = PARTS[SHARED_KEY]
    session = parts.session(PAIR)
    ways = [parts.way(session, PAIR)._replace(instance=bytes([at] * 16)) for at in range(2)]
    one, other = (seal(way, ENVELOPE, mode) for way in ways)
    read = reader(parts.work, PAIR)
    assert read.decode(one, NOW_MS) is not None
    assert read.decode(other, NOW_MS) is not None
    mixed = take(one)._replace(metadata=take(other).metadata).put()
    with pytest.raises(InvalidSignature):
        read.decode(mixed, NOW_MS)


@each
def test_heads_are_remembered_once_they_opened_and_bounded(mode: Mode) -> None:
    parts = PARTS[SHARED_KEY]
    session = parts.session(PAIR)
    read = reader(parts.work, PAIR)
    data = seal(parts.way(session, PAIR), ENVELOPE, mode)
    bad = take(data)._replace(sealed=bytes(16)).put()
    with pytest.raises(InvalidSignature):
        read.decode(bad, NOW_MS)
    assert not read._tracks
    first, second = (read.decode(data, NOW_MS) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.track is second.track
    assert len(read._tracks) == 1
    read._tracks.update({b"%d" % at: first.track for at in range(TRACKS_MAX)})
    other = parts.way(session, PAIR)._replace(instance=bytes(16))
    assert read.decode(seal(other, ENVELOPE, mode), NOW_MS) is not None
    assert len(read._tracks) == 1


def test_a_signed_message_that_hides_something_in_its_tag_is_refused() -> None:
    parts = PARTS[SHARED_KEY]
    session = parts.session(PAIR)
    taken = take(seal(parts.way(session, PAIR), ENVELOPE))
    nonce, beside = NONCE_BEGIN + taken.times[:8], taken.times + taken.text
    hidden = session.cipher(taken.metadata).encrypt(nonce, b"hidden", beside)
    with pytest.raises(InvalidSignature, match="length"):
        opened(parts.work, taken._replace(sealed=hidden).put(), PAIR)


def test_base64_that_is_not_plain_is_refused() -> None:
    parts = PARTS[SHARED_KEY]
    data = seal(parts.way(parts.session(PAIR), PAIR), ENVELOPE)
    at = data.index(HEAD) + len(HEAD)
    for bad in (b"A", b"AAAAA===", b"AB==", b"\n"):
        with pytest.raises(InvalidSignature, match="base64"):
            opened(parts.work, data[:at] + bad + data[data.index(b'","transom.security') :], PAIR)


@pytest.mark.parametrize("form", [Form.TEXT, Form.BYTES])
def test_an_envelope_that_its_source_made_wrong_is_refused(form: Form) -> None:
    """The bytes are authentic, and yet no envelope of a text."""
    with pytest.raises(InvalidSignature, match="envelope"):
        reading._body(form, b'{"oslo.version":"2.0","oslo.message":nonsense')
    if form is Form.BYTES:
        with pytest.raises(InvalidSignature, match="envelope"):
            reading._body(form, b'{"oslo.version":"2.0","oslo.message":"!"')


@both
@each
def test_a_reply_goes_back_in_the_session_of_its_request(suite: str, mode: Mode) -> None:
    parts = PARTS[suite]
    session = parts.session(PAIR)
    parts.api.remember_own(session)
    request = opened(parts.work, seal(parts.way(session, PAIR), ENVELOPE, mode), PAIR)
    way = Way(request.session, Role.REPLY, BACK, INSTANCE)
    data = seal(way, b'{"oslo.version":"2.0","oslo.message":"answer"}', mode)
    answer = opened(parts.api, data, BACK)
    assert answer.metadata.source == "work.h1"
    assert b"answer" in answer.body
    stranger = Opener(suite, "api.b", parts.identities["other.o"], (), skew_ms=0)
    with pytest.raises(InvalidSignature, match="no session"):
        opened(stranger, data, BACK)


@both
def test_a_request_sent_back_to_its_source_is_no_reply(suite: str) -> None:
    parts = PARTS[suite]
    session = parts.session(PAIR)
    parts.api.remember_own(session)
    taken = take(seal(parts.way(session, PAIR), ENVELOPE))
    for metadata in (
        taken.metadata,
        write(replace(taken.of(), role=Role.REPLY, kind="reply", name="reply_api", part="")),
        write(replace(taken.of(), kind="reply", name="reply_api", part="")),
    ):
        for ticket in (b"", taken.ticket):
            reflected = taken._replace(metadata=metadata, ticket=ticket).put()
            with pytest.raises(SecurityError):
                opened(parts.api, reflected, BACK, PAIR)


@both
@each
def test_a_member_answers_for_its_group_under_a_ticket_of_its_own(suite: str, mode: Mode) -> None:
    parts = PARTS[suite]
    asked = parts.session(GROUP)
    parts.api.remember_own(asked)
    answering = parts.direct("work.h2", "api.a", ("api.a",))
    way = Way(answering, Role.REQUEST, BACK, INSTANCE, answers=asked.id)
    found = opened(parts.api, seal(way, ENVELOPE, mode), BACK)
    assert found.metadata.source == "work.h2"
    assert found.session.certificate is not None
    pair = parts.session(PAIR)
    parts.api.remember_own(pair)
    for answers in (b"", bytes(16), pair.id):
        with pytest.raises(WrongDestination, match="answers nothing"):
            opened(parts.api, seal(way._replace(answers=answers), ENVELOPE, mode), BACK)
    outsider = parts.direct("other.o", "api.a", ("api.a",))
    with pytest.raises(WrongDestination, match="does not belong"):
        opened(parts.api, seal(way._replace(session=outsider), ENVELOPE, mode), BACK)


@both
@each
def test_a_member_of_the_group_cannot_seal_as_another(suite: str, mode: Mode) -> None:
    parts = PARTS[suite]
    way = parts.way(parts.session(GROUP), GROUP)
    real = opened(parts.work, seal(way, ENVELOPE, mode), GROUP)
    for signing in (None, parts.identities["work.h2"].signing):
        forged = Way(real.session, Role.REQUEST, GROUP, INSTANCE, signing)
        with pytest.raises(InvalidSignature):
            opened(parts.work, seal(forged, ENVELOPE, mode), GROUP)


@both
def test_messages_to_groups_share_a_signature_that_is_checked_once(suite: str) -> None:
    parts = PARTS[suite]
    way = parts.way(parts.session(GROUP), GROUP)
    fanout = parts.way(way.session, GROUP._replace(kind="fanout"))
    writers = [Writer(one, mode) for one in (way, fanout) for mode in (Mode.SIGN, Mode.ENCRYPT)]
    bodies = [ENVELOPE, b"text", b"\xff", b'{"a":1}'] * 4
    drafts = [
        writers[at % 4].draft(body, counter=at + 1, sent_ms=NOW_MS, deadline_ms=0)
        for at, body in enumerate(bodies)
    ]
    messages = signed(parts.identities["api.a"].signing, drafts)
    read = reader(parts.work, way.place, fanout.place)
    for data, body in zip(messages, bodies, strict=True):
        found = read.decode(data, NOW_MS)
        assert found is not None
        assert found.body == body
    assert len(read._proofs) == 1
    assert len(bodies) == LEAVES_MAX
    one_more = signed(parts.identities["api.a"].signing, [*drafts, drafts[0]])
    with pytest.raises(InvalidSignature, match="no proof"):
        read.decode(one_more[0], NOW_MS)


@both
@each
def test_the_proof_of_one_message_proves_no_other(suite: str, mode: Mode) -> None:
    """A member puts the real proof of its source under what it has sealed itself."""
    parts = PARTS[suite]
    way = parts.way(parts.session(GROUP), GROUP)
    real = seal(way, ENVELOPE, mode)
    read = reader(parts.work, GROUP)
    found = read.decode(real, NOW_MS)
    assert found is not None
    forged = take(seal(way._replace(session=found.session), b'{"forged":1}', mode, counter=2))
    proof = take(real).proof
    for bad in (proof, proof[:-1] + b"\2", proof[:-1] + b"\0", b"", forged.proof[:32] + proof[32:]):
        with pytest.raises(InvalidSignature):
            read.decode(forged._replace(proof=bad).put(), NOW_MS)
    assert len(read._proofs) == 1


@both
@each
def test_a_message_to_a_group_that_was_taken_is_not_verified_again(suite: str, mode: Mode) -> None:
    parts = Parts(suite)
    data = seal(parts.way(parts.session(GROUP), GROUP), ENVELOPE, mode)
    taken: set[tuple[bytes, int, int]] = set()
    one = Reader(
        parts.work,
        {GROUP: ("", "")},
        known=lambda *message: message in taken,
    )
    for _ in range(2):
        found = one.decode(data, NOW_MS)
        assert found is not None
    assert len(found.track.stream) == STREAM_BYTES
    taken.add((found.track.stream, 1, NOW_MS))
    bad = take(data)._replace(proof=take(data).proof[:-2] + b"\0\x01").put()
    with pytest.raises(Replayed) as replayed:
        one.decode(bad, NOW_MS)
    assert replayed.value.metadata.source == "api.a"


def test_proofs_that_are_remembered_are_bounded() -> None:
    parts = PARTS[SHARED_KEY]
    way = parts.way(parts.session(GROUP), GROUP)
    read = reader(parts.work, GROUP)
    read._proofs.update((b"", b"%d" % at) for at in range(PROOFS_MAX))
    assert read.decode(seal(way, ENVELOPE), NOW_MS) is not None
    assert len(read._proofs) == 1


def test_a_group_session_without_a_certificate_vouches_for_nobody() -> None:
    parts = PARTS[SHARED_KEY]
    session = parts.session(GROUP)
    data = seal(parts.way(session, GROUP), ENVELOPE)
    found = opened(parts.work, data, GROUP).session
    found.certificate = None
    with pytest.raises(InvalidCertificate):
        opened(parts.work, data, GROUP)
    found.certificate = Certificate("api.a", (), b"short", b"", 0, 0)
    with pytest.raises(InvalidCertificate):
        opened(parts.work, data, GROUP)


def test_a_message_at_another_place_is_refused() -> None:
    parts = PARTS[SHARED_KEY]
    data = seal(parts.way(parts.session(PAIR), PAIR), ENVELOPE)
    for place in (GROUP, PAIR._replace(part="h2"), PAIR._replace(exchange="x")):
        with pytest.raises(WrongDestination):
            opened(parts.work, data, place)


def test_a_message_without_security_is_none() -> None:
    read = reader(PARTS[SHARED_KEY].work, PAIR)
    for plain in (
        ENVELOPE,
        b"",
        b'"}',
        b'{"transom.head":"a"}',
        b'{"a":"b","transom.head":"a"}',
        b'{"a":"b","transom.security":"a"}',
    ):
        assert read.decode(plain, NOW_MS) is None
        assert claimed(plain) == ""
    assert claimed(MAGIC) == ""


@both
def test_a_reply_that_claims_a_ticketed_direction_is_refused(suite: str) -> None:
    """Its metadata say REPLY, though it comes with a ticket; made by who has the key."""
    parts = PARTS[suite]
    session = parts.session(PAIR)
    way = parts.way(session, PAIR)._replace(role=Role.REPLY)
    bad = take(seal(way, ENVELOPE))._replace(ticket=session.ticket).put()
    with pytest.raises(InvalidSignature, match="direction"):
        opened(parts.work, bad, PAIR)


def test_a_source_that_names_another_is_refused() -> None:
    parts = PARTS[SHARED_KEY]
    honest = parts.session(PAIR)
    lying = Session(
        SHARED_KEY, "work.h2", "work.h1", honest.key, group=False, ticket=honest.ticket,
        issued_ms=NOW_MS, lifetime_ms=1000,
    )  # fmt: skip
    way = Way(lying, Role.REQUEST, PAIR, INSTANCE)
    with pytest.raises(InvalidSignature, match="another source"):
        opened(parts.work, seal(way, ENVELOPE), PAIR)
