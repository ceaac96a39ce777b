# SPDX-License-Identifier: Apache-2.0
"""Which ticket opens what, where, and for whom."""

import pytest

from transom.errors import Expired, InvalidCertificate, InvalidSignature, WrongDestination
from transom.messaging.security import opening
from transom.messaging.security.direct import (
    DIRECT_BYTES_MAX,
    LIFETIME_MS_MAX,
    RECEIVERS_MAX,
    make_direct,
    open_direct,
)
from transom.messaging.security.message import Form, Mode, Way
from transom.messaging.security.opening import KeyNeeded, Opener
from transom.messaging.security.sealing import identify
from transom.messaging.security.sessions import (
    PUBLIC_KEY,
    SHARED_KEY,
    Counters,
    Place,
    Role,
    Session,
)
from transom.messaging.security.tickets import Ticket, issue_ticket

from support.security_parts import BACK, GROUP, HOUR_MS, INSTANCE, NOW_MS, PAIR, SKEW_MS, Parts


def fresh(opener: Opener, session: Session, place: Place, *, session_id: bytes = b"") -> Session:
    return opener.session(session.ticket, session_id or session.id, place, NOW_MS)


@pytest.mark.parametrize("suite", [SHARED_KEY, PUBLIC_KEY])
def test_a_ticket_is_opened_once_and_only_with_its_id_and_place(suite: str) -> None:
    parts = Parts(suite)
    for place in (PAIR, GROUP):
        session = parts.session(place)
        found = fresh(parts.work, session, place)
        assert found.key == session.key
        assert fresh(parts.work, session, place) is found
        with pytest.raises(InvalidSignature, match="another ticket"):
            fresh(parts.work, session, place, session_id=bytes(16))
    with pytest.raises(WrongDestination):
        fresh(parts.work, parts.session(PAIR), GROUP)
    with pytest.raises(WrongDestination):
        fresh(parts.work, parts.session(GROUP), PAIR)
    session = parts.session(GROUP)
    fresh(parts.work, session, GROUP)
    with pytest.raises(WrongDestination):
        fresh(parts.work, session, GROUP._replace(name="other"))
    with pytest.raises(WrongDestination):
        fresh(parts.work, session, Place("server", "work", "h1"))


def test_a_key_that_is_not_here_is_said_to_be_needed() -> None:
    parts = Parts()
    work = Opener(SHARED_KEY, "work.h1", parts.identities["work.h1"], (), skew_ms=0)
    with pytest.raises(KeyNeeded) as needed:
        fresh(work, parts.session(GROUP), GROUP)
    assert (needed.value.group, needed.value.generation) == ("work", 1)
    work.add_group_key("work", 1, parts.group_key, NOW_MS + HOUR_MS)
    assert (work.newest("work"), work.newest("other")) == (1, 0)
    with pytest.raises(KeyNeeded) as needed:
        fresh(work, parts.session(GROUP), GROUP)
    assert needed.value.group == ""
    direct = Parts(PUBLIC_KEY)
    work = Opener(PUBLIC_KEY, "work.h1", direct.identities["work.h1"], (), skew_ms=0)
    with pytest.raises(KeyNeeded):
        fresh(work, direct.session(PAIR), PAIR)


def test_a_suite_takes_its_own_tickets_only() -> None:
    shared, public = Parts(SHARED_KEY), Parts(PUBLIC_KEY)
    with pytest.raises(InvalidSignature, match="another suite"):
        fresh(public.work, shared.session(PAIR), PAIR)
    public.authority, public.authorities = shared.authority, shared.authorities
    shared.work.authorities = public.authorities
    foreign = shared.direct("api.a", "work.h1", ("work.h1",))
    shared.suite = PUBLIC_KEY
    renamed = shared.direct("api.a", "work.h1", ("work.h1",))
    with pytest.raises(InvalidSignature, match="another suite"):
        fresh(shared.work, renamed, BACK)
    for place in (PAIR, GROUP):
        with pytest.raises(InvalidSignature, match="only replies"):
            fresh(shared.work, foreign, place)
    shared.suite = SHARED_KEY
    group = shared.direct("api.a", "work.h1", ("work.h1",), group=True)
    with pytest.raises(WrongDestination):
        fresh(shared.work, group, BACK)


def test_a_ticket_of_ones_own_making_that_served_for_a_reply_serves_for_nothing_else() -> None:
    parts = Parts()
    own = parts.direct("api.a", "work.h1", ("work.h1",))
    assert fresh(parts.work, own, BACK).source == "api.a"
    for place in (PAIR, GROUP):
        with pytest.raises(InvalidSignature, match="only replies"):
            fresh(parts.work, own, place)
    assert fresh(parts.work, own, BACK).source == "api.a"


def test_a_ticket_ends_with_the_groups_key_and_with_its_certificate() -> None:
    parts = Parts()

    def sealed(issued_ms: int, lifetime_ms: int) -> bytes:
        ticket = Ticket(
            "api.a", "work", issued_ms, lifetime_ms, bytes(32), parts.certificates["api.a"]
        )
        return issue_ticket(ticket, parts.group_key, parts.random, generation=1)

    def tried(ticket: bytes, now_ms: int) -> Session:
        return parts.work.session(ticket, identify(ticket), GROUP, now_ms)

    later_ms = NOW_MS + 72 * HOUR_MS
    assert tried(sealed(NOW_MS, HOUR_MS), later_ms), "what waited is opened long after"
    for ticket in (sealed(NOW_MS, HOUR_MS + 1), sealed(later_ms, 1)):
        with pytest.raises(Expired, match="outlives the group's key"):
            tried(ticket, later_ms)
    parts.work.add_group_key("work", 1, parts.group_key, later_ms)
    assert tried(sealed(NOW_MS + 23 * HOUR_MS, HOUR_MS), later_ms)
    with pytest.raises(InvalidCertificate, match="outlives its certificate"):
        tried(sealed(NOW_MS + 23 * HOUR_MS, HOUR_MS + 1), later_ms)
    with pytest.raises(InvalidCertificate, match="does not hold"):
        tried(sealed(NOW_MS + 25 * HOUR_MS, 1), later_ms)
    public = Parts(PUBLIC_KEY)
    long = public.direct("api.a", "work.h1", ("work.h1",), lifetime_ms=24 * HOUR_MS)
    assert fresh(public.work, long, PAIR).expires_ms == NOW_MS + 24 * HOUR_MS
    public.certificates["api.a"] = public.certify("api.a", ends_ms=NOW_MS + HOUR_MS)
    long = public.direct("api.a", "work.h1", ("work.h1",), lifetime_ms=24 * HOUR_MS)
    assert fresh(public.work, long, PAIR).expires_ms == NOW_MS + HOUR_MS


def test_a_reply_needs_a_session_of_ones_own_with_one_party() -> None:
    parts = Parts()
    pair, group = parts.session(PAIR), parts.session(GROUP)
    for session in (pair, group):
        parts.api.remember_own(session)
    assert parts.api.session(b"", pair.id, BACK, NOW_MS) is pair
    assert parts.api.own(group.id) is group
    for session_id, place in ((bytes(16), BACK), (group.id, BACK), (pair.id, PAIR)):
        with pytest.raises(InvalidSignature):
            parts.api.session(b"", session_id, place, NOW_MS)


def test_a_ticket_with_another_partys_certificate_or_no_life_is_refused() -> None:
    parts = Parts()

    def sealed(source: str, certificate: str, lifetime_ms: int) -> bytes:
        ticket = Ticket(
            source, "work", NOW_MS, lifetime_ms, bytes(32), parts.certificates[certificate]
        )
        return issue_ticket(ticket, parts.group_key, parts.random, generation=1)

    parts.work.add_group_key("work", 1, parts.group_key, NOW_MS + 48 * HOUR_MS)
    parts.certificates["api.a"] = parts.certify("api.a", ends_ms=NOW_MS + 48 * HOUR_MS)
    with pytest.raises(InvalidCertificate, match="another party"):
        parts.work.session(sealed("api.a", "work.h2", HOUR_MS), b"", GROUP, NOW_MS)
    for lifetime_ms in (0, -1, LIFETIME_MS_MAX + 1):
        with pytest.raises(InvalidSignature, match="life"):
            parts.work.session(sealed("api.a", "api.a", lifetime_ms), b"", GROUP, NOW_MS)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "SESSIONS_MAX", 3)
    parts = Parts()
    sessions = [parts.session(PAIR) for _ in range(5)]
    for session in sessions:
        parts.api.remember_own(session)
        fresh(parts.work, session, PAIR)
        parts.work.add_group_key("g", session.issued_ms, bytes(32), NOW_MS)
    assert parts.api.own(sessions[0].id) is None
    assert parts.api.own(sessions[4].id) is sessions[4]
    assert fresh(parts.work, sessions[0], PAIR).key == sessions[0].key
    for generation in range(9):
        parts.work.add_group_key("g", generation, bytes(32), NOW_MS)
    assert len(parts.work.group_keys) == 3


def test_a_ticket_of_ones_own_making_opens_for_whom_it_wraps() -> None:
    parts = Parts(PUBLIC_KEY)
    session = parts.direct("api.a", "work", ("work.h1", "work.h2"), group=True)

    def tried(ticket: bytes, name: str = "work.h2", now_ms: int = NOW_MS) -> Session:
        return open_direct(
            ticket, parts.identities[name], parts.authorities, now_ms=now_ms, skew_ms=SKEW_MS
        )

    found = tried(session.ticket)
    assert (found.key, found.source, found.group) == (session.key, "api.a", True)
    with pytest.raises(WrongDestination):
        tried(session.ticket, "other.o")
    with pytest.raises(InvalidCertificate):
        tried(session.ticket, now_ms=NOW_MS + 48 * HOUR_MS)
    with pytest.raises(InvalidSignature):
        tried(bytes(DIRECT_BYTES_MAX + 1))
    for at in range(0, len(session.ticket), 3):
        ticket = session.ticket
        with pytest.raises((InvalidSignature, InvalidCertificate)):
            tried(ticket[:at] + bytes([ticket[at] ^ 1]) + ticket[at + 1 :])
    for lifetime_ms in (0, LIFETIME_MS_MAX + 1):
        with pytest.raises(InvalidCertificate, match="life"):
            tried(parts.direct("api.a", "work.h2", ("work.h2",), lifetime_ms=lifetime_ms).ticket)


@pytest.mark.parametrize("count", [0, RECEIVERS_MAX + 1])
def test_a_ticket_for_nobody_or_for_too_many_is_not_made(count: int) -> None:
    parts = Parts(PUBLIC_KEY)
    receivers = [parts.certificate("work.h1")] * count
    with pytest.raises(WrongDestination):
        make_direct(
            PUBLIC_KEY, "api.a", parts.identities["api.a"], b"", "work", receivers, group=True,
            now_ms=NOW_MS, lifetime_ms=HOUR_MS, random=parts.random,
        )  # fmt: skip


def test_ciphers_are_apart_by_each_of_the_metadata() -> None:
    session = Parts().session(PAIR)
    way = Way(session, Role.REQUEST, PAIR, INSTANCE)

    def text(way: Way, mode: Mode = Mode.SIGN, form: Form = Form.ENVELOPE) -> bytes:
        return session.cipher(way.metadata(mode, form)).encrypt(bytes(12), b"x", None)

    made = [
        text(way),
        text(way, Mode.ENCRYPT),
        text(way, form=Form.TEXT),
        text(way._replace(role=Role.REPLY)),
        text(way._replace(instance=bytes(16))),
        text(way._replace(place=PAIR._replace(part="h2"))),
        text(way._replace(reply_to="other")),
        text(way._replace(answers=b"x")),
    ]
    assert len(set(made)) == len(made)
    assert text(way) == made[0]


def test_counters_only_rise_also_where_a_place_was_forgotten() -> None:
    counters = Counters()
    seen: set[tuple[Place, int]] = set()
    for now_ms in (NOW_MS, NOW_MS, NOW_MS + 1):
        for at in range(5000):
            place = Place("reply", f"r{at % 4500}")
            one = (place, counters.next(place, now_ms))
            assert one not in seen
            seen.add(one)
