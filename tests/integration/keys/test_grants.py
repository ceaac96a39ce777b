"""What parties ask for, signed, over HTTP; on files and on PostgreSQL."""

import base64
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from transom.messaging.security import certificates, tickets
from transom.messaging.security.certificates import Identity
from transom.messaging.security.sealing import derive
from transom.messaging.security.tickets import Purpose

from support.http import ask
from support.keys import Asking, Door, opened_door, path_of, replace_fields, text_of

pytestmark = pytest.mark.usefixtures("engine")
MINUTE_S = 60


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with opened_door(tmp_path) as door:
        yield door


@pytest.fixture
async def caller(door: Door) -> Asking:
    return await door.party("api.host1")


@pytest.fixture
async def host(door: Door) -> Asking:
    return await door.party("scheduler.host1")


async def authorities(door: Door) -> list[bytes]:
    known = (await door.ask("GET", "/v1/ca", token="")).json()["authorities"]
    return [base64.b64decode(one) for one in known]


async def test_a_ticket_opens_for_its_destination_alone(
    door: Door, caller: Asking, host: Asking
) -> None:
    grant = await door.granted(caller, Purpose.TICKET, "scheduler.host1")
    ticket = tickets.open_ticket(grant.ticket, [host.key])
    assert (ticket.source, ticket.destination) == ("api.host1", "scheduler.host1")
    assert ticket.key == grant.key
    assert ticket.lifetime_ms == grant.lifetime_ms == 3_600_000
    assert ticket.issued_ms == door.clock.now_ms()
    with pytest.raises(Exception, match="key that is not here"):
        tickets.open_ticket(grant.ticket, [caller.key])
    again = await door.granted(caller, Purpose.TICKET, "scheduler.host1")
    assert again.key != grant.key


async def test_a_ticket_has_the_sources_certificate_and_its_groups(
    door: Door, caller: Asking, host: Asking
) -> None:
    await door.ask("PUT", "/v1/groups/feed.*", {"members": ["api.*"]})
    grant = await door.granted(caller, Purpose.TICKET, "scheduler.host1")
    known = await authorities(door)
    assert list(grant.authorities) == known
    now_ms = door.clock.now_ms()
    found = certificates.check(grant.certificate, known, now_ms=now_ms)
    assert found.name == "api.host1"
    assert found.signing_key == caller.identity.signing_key
    assert found.belongs_to("api")
    assert found.belongs_to("feed.images")
    assert not found.belongs_to("scheduler")
    held_s = (found.not_after_ms - now_ms) / 1000
    assert held_s == 3600, "as long as its tickets, also where a message under one waits"


async def test_a_request_is_answered_once(door: Door, caller: Asking, host: Asking) -> None:
    request = caller.request(Purpose.TICKET, "scheduler.host1")
    data, way = caller.signed(request), path_of(Purpose.TICKET, "")
    assert (await door.send(data, *way)).status == 200
    replayed = await door.send(data, *way)
    assert replayed.status == 401
    assert "answered before" in replayed.json()["error"]["message"]
    other = replace_fields(request, destination="api.host1")
    assert (await door.send(caller.signed(other), *way)).status == 401, "the nonce is the party's"
    assert (
        await door.send(host.signed(replace_fields(request, source=host.name)), *way)
    ).status == 200


async def test_a_replayed_request_is_refused_after_a_restart_too(tmp_path: Path) -> None:
    async with opened_door(tmp_path) as door:
        caller, clock = await door.party("api.host1"), door.clock
        data = caller.signed(caller.request(Purpose.ENROL))
        assert (await door.send(data, *path_of(Purpose.ENROL, caller.name))).status == 200
        known = await authorities(door)
    async with opened_door(tmp_path, clock) as door:
        assert (await door.send(data, *path_of(Purpose.ENROL, caller.name))).status == 401
        await door.granted(caller, Purpose.ENROL)
        assert await authorities(door) == known


@pytest.mark.parametrize("off_ms", [-300_001, 300_001])
async def test_a_request_of_another_time_is_refused_on_either_side(
    door: Door, caller: Asking, off_ms: int
) -> None:
    timestamp_ms = door.clock.now_ms() + off_ms
    refused = await door.asked(caller, Purpose.ENROL, timestamp_ms=timestamp_ms)
    assert refused.status == 401
    assert "clock" in refused.json()["error"]["message"]
    near = timestamp_ms - (1 if off_ms > 0 else -1)
    assert (await door.asked(caller, Purpose.ENROL, timestamp_ms=near)).status == 200


async def test_who_does_not_sign_learns_nothing(door: Door, caller: Asking) -> None:
    wrong = Asking(caller.name, os.urandom(32), door.clock)
    unknown = Asking("nobody.host1", os.urandom(32), door.clock)
    replies = [await door.asked(one, Purpose.TICKET, "x.y") for one in (wrong, unknown)]
    assert [reply.status for reply in replies] == [401, 401]
    said = [reply.json()["error"] | {"request_id": ""} for reply in replies]
    assert said[0] == said[1]
    stale = await door.asked(wrong, Purpose.TICKET, "x.y", timestamp_ms=0)
    assert stale.json()["error"]["message"] == said[0]["message"]


async def test_a_bad_signature_writes_nothing(door: Door, caller: Asking) -> None:
    wrong = Asking(caller.name, os.urandom(32), door.clock)
    for _ in range(5):
        assert (await door.asked(wrong, Purpose.ENROL)).status == 401
    rows = await door.service.database.read(lambda tx: tx.fetch("select source from nonce"))
    assert rows == []


async def test_what_cannot_be_read_is_malformed(door: Door, caller: Asking) -> None:
    good = caller.signed(caller.request(Purpose.TICKET, "x.y"))
    for data in (b"", b"\x00", good[:-1], os.urandom(200)):
        assert (await door.send(data, "POST", "/v1/tickets")).status == 400
    for body in ({}, {"request": 5}, {"request": "no base64"}, {"request": text_of(bytes(5000))}):
        assert (await door.ask("POST", "/v1/tickets", body, token="")).status == 400
    whole = await ask(door.base_url, "POST", "/keys/v1/tickets", body=b"x" * 20_000,
                      headers={"content-type": "application/json"})  # fmt: skip
    assert whole.status == 413


async def test_a_request_is_good_for_its_purpose_alone(door: Door, caller: Asking) -> None:
    enrol = caller.signed(caller.request(Purpose.ENROL))
    for path in ("/v1/tickets", "/v1/groups"):
        assert (await door.send(enrol, "POST", path)).status == 400
    assert (await door.send(enrol, "PUT", "/v1/certificates/other.host1")).status == 400
    assert (await door.send(enrol, "PUT", f"/v1/certificates/{caller.name}")).status == 200


async def test_no_ticket_is_given_to_a_party_that_is_not_there(door: Door, caller: Asking) -> None:
    for destination in ("scheduler.host9", "nothing", "", "é", "x" * 300):
        reply = await door.asked(caller, Purpose.TICKET, destination)
        assert reply.status == 404, destination


async def test_a_server_is_found_by_what_it_serves(door: Door, caller: Asking) -> None:
    host = await door.party("compute.host1.example.org")
    await door.party("network.host2.example.org")
    await door.ask("PUT", "/v1/groups/compute-extra", {"members": ["compute.*"]})
    grant = await door.granted(caller, Purpose.TICKET, "compute-extra.host1.example.org")
    assert grant.destination == host.name
    assert tickets.open_ticket(grant.ticket, [host.key]).destination == host.name
    assert (
        await door.asked(caller, Purpose.TICKET, "compute-extra.host2.example.org")
    ).status == 404
    await door.party("volume.host1.example.org")
    await door.ask("PUT", "/v1/groups/both", {"members": ["compute.*", "volume.*"]})
    reply = await door.asked(caller, Purpose.TICKET, "both.host1.example.org")
    assert reply.status == 404
    assert "compute.host1.example.org or volume.host1" in reply.json()["error"]["message"]


async def test_anybody_writes_to_a_group_and_its_members_read(
    door: Door, caller: Asking, host: Asking
) -> None:
    other = await door.party("scheduler.host2")
    grant = await door.granted(caller, Purpose.GROUP_TICKET, "scheduler")
    assert grant.destination == "scheduler"
    assert tickets.read_label(grant.ticket).generation == grant.generation
    for member in (host, other):
        key = await door.granted(member, Purpose.GROUP_KEY, "scheduler", grant.generation)
        ticket = tickets.open_ticket(grant.ticket, [key.key])
        assert (ticket.source, ticket.key) == ("api.host1", grant.key)
        newest = await door.granted(member, Purpose.GROUP_KEY, "scheduler")
        assert (newest.key, newest.generation) == (key.key, key.generation)
    refused = await door.asked(caller, Purpose.GROUP_KEY, "scheduler")
    assert refused.status == 403
    assert "not in the group" in refused.json()["error"]["message"]


async def test_a_group_that_nobody_can_be_in_is_not_found(door: Door, caller: Asking) -> None:
    assert (await door.asked(caller, Purpose.GROUP_TICKET, "nobody")).status == 404
    assert (await door.asked(caller, Purpose.GROUP_TICKET, "no name")).status == 400
    await door.ask("PUT", "/v1/groups/no*", {"members": ["api.host1"]})
    await door.granted(caller, Purpose.GROUP_TICKET, "nobody")
    assert (await door.granted(caller, Purpose.GROUP_KEY, "nobody")).destination == "nobody"


async def test_a_groups_key_is_followed_by_the_next_before_it_ends(
    door: Door, caller: Asking, host: Asking
) -> None:
    first = await door.granted(caller, Purpose.GROUP_TICKET, "scheduler")
    assert first.lifetime_ms == 15 * MINUTE_S * 1000, "not beyond its key"
    door.clock.move_s(12 * MINUTE_S)
    same = await door.granted(caller, Purpose.GROUP_TICKET, "scheduler")
    assert same.generation == first.generation
    assert same.lifetime_ms == 3 * MINUTE_S * 1000
    door.clock.move_s(MINUTE_S)
    following = await door.granted(caller, Purpose.GROUP_TICKET, "scheduler")
    assert following.generation > first.generation
    old = await door.granted(host, Purpose.GROUP_KEY, "scheduler", first.generation)
    assert tickets.open_ticket(first.ticket, [old.key]).key == first.key
    assert (await door.granted(host, Purpose.GROUP_KEY, "scheduler")).key != old.key


async def test_an_old_key_of_a_group_can_be_had_until_its_messages_are_gone(tmp_path: Path) -> None:
    async with opened_door(tmp_path, retention_s=3600) as door:
        host = await door.party("scheduler.host1")
        first = await door.granted(host, Purpose.GROUP_KEY, "scheduler")
        left_s = (15 + 10 + 60) * MINUTE_S
        assert first.lifetime_ms == left_s * 1000
        door.clock.move_s(left_s - 1)
        await door.granted(host, Purpose.GROUP_KEY, "scheduler", first.generation)
        door.clock.move_s(1)
        gone = {"destination": "scheduler", "generation": first.generation}
        assert (await door.asked(host, Purpose.GROUP_KEY, **gone)).status == 404
        await door.granted(host, Purpose.GROUP_KEY, "scheduler")  # makes another, and forgets it
        rows = await door.service.database.read(lambda tx: tx.fetch("select * from group_key"))
        assert len(rows) == 1
        assert (await door.asked(host, Purpose.GROUP_KEY, "scheduler", generation=7)).status == 404


async def test_certificates_of_enrolled_parties_can_be_asked_for(
    door: Door, caller: Asking, host: Asking
) -> None:
    async def found(query: str) -> list[str]:
        reply = await door.ask("GET", f"/v1/certificates?{query}", token="")
        assert reply.status == 200, reply.body
        known, now_ms = await authorities(door), door.clock.now_ms()
        given = [base64.b64decode(one) for one in reply.json()["certificates"]]
        return [certificates.check(one, known, now_ms=now_ms).name for one in given]

    assert await found("topic=scheduler&server=host1") == []
    await door.granted(host, Purpose.ENROL)
    file = await door.enrolment.certified("compute.host1")
    identity = Identity.load(file.identity)
    own = certificates.check(file.certificate, file.authorities, now_ms=door.clock.now_ms())
    assert own.signing_key == identity.signing_key
    assert await found("topic=scheduler&server=host1") == ["scheduler.host1"]
    assert await found("topic=compute&server=host1") == ["compute.host1"]
    assert await found("group=scheduler") == ["scheduler.host1"]
    await door.ask("PUT", "/v1/groups/all", {"members": ["compute.host1", "sched*"]})
    assert await found("group=all") == ["compute.host1", "scheduler.host1"]
    assert await found("topic=all&server=host1") == [], "two of them serve it"
    assert await found("group=none") == []
    assert (await door.asked(caller, Purpose.TICKET, "compute.host1")).status == 404, "has no key"
    for query in ("", "topic=x", "group=x&topic=y&server=z", "group=a%20b", "topic=x&server="):
        assert (await door.ask("GET", f"/v1/certificates?{query}", token="")).status == 400
    await door.ask("DELETE", "/v1/keys/scheduler.host1")
    assert await found("group=scheduler") == []


async def test_a_groups_key_says_when_the_last_ticket_under_it_ends(
    door: Door, caller: Asking, host: Asking
) -> None:
    first = await door.granted(caller, Purpose.GROUP_TICKET, "scheduler")
    end_ms = first.issued_ms + first.lifetime_ms
    door.clock.move_s(12 * MINUTE_S)
    later = await door.granted(caller, Purpose.GROUP_TICKET, "scheduler")
    assert later.issued_ms + later.lifetime_ms == end_ms
    door.clock.move_s(24 * 60 * MINUTE_S)
    old = await door.granted(host, Purpose.GROUP_KEY, "scheduler", first.generation)
    assert old.key_end_ms == end_ms, "though the key is still given"


async def test_a_generation_that_there_cannot_be_is_malformed(door: Door, host: Asking) -> None:
    for generation in (2**63, 2**64 - 1, -1):
        reply = await door.asked(host, Purpose.GROUP_KEY, "scheduler", generation=generation)
        assert reply.status == 400, generation
    reply = await door.asked(host, Purpose.GROUP_KEY, "scheduler", generation=2**63 - 1)
    assert reply.status == 404


async def test_an_unknown_name_is_not_told_from_a_bad_signature_by_its_time(door: Door) -> None:
    """The key that stands for nobody's is nobody's to compute."""
    await door.party("api.host1")
    said = []
    for name in ("api.host1", "nobody.host1"):
        asking = Asking(name, derive(bytes(32), "nobody", name), door.clock)
        reply = await door.asked(asking, Purpose.TICKET, "x.y", timestamp_ms=0)
        assert reply.status == 401
        said.append(reply.json()["error"] | {"request_id": ""})
    assert said[0] == said[1]


async def test_a_certificate_of_an_enrolled_party_is_not_replaced_by_a_shorter_one(
    door: Door, caller: Asking
) -> None:
    file = await door.enrolment.certified(caller.name)
    await door.granted(caller, Purpose.ENROL)
    found = await door.ask("GET", "/v1/certificates?topic=api&server=host1", token="")
    assert [base64.b64decode(one) for one in found.json()["certificates"]] == [file.certificate]


async def test_a_party_brings_only_so_many_groups_to_be(tmp_path: Path) -> None:
    async with opened_door(tmp_path, made_groups_max=3) as door:
        caller, other = await door.party("api.host1"), await door.party("api.host2")
        await door.ask("PUT", "/v1/groups/feed.*", {"members": ["scheduler.*"]})
        for number in range(3):
            await door.granted(caller, Purpose.GROUP_TICKET, f"feed.{number}")
        refused = await door.asked(caller, Purpose.GROUP_TICKET, "feed.3")
        assert refused.status == 409
        assert "register them" in refused.json()["error"]["message"]
        await door.granted(caller, Purpose.GROUP_TICKET, "feed.0")
        await door.granted(caller, Purpose.GROUP_TICKET, "api")
        await door.granted(other, Purpose.GROUP_TICKET, "feed.3")
        await door.granted(caller, Purpose.GROUP_TICKET, "feed.3")
        door.clock.move_s(14 * MINUTE_S)
        await door.granted(caller, Purpose.GROUP_TICKET, "feed.0")
        door.clock.move_s(60 * MINUTE_S)
        await door.granted(caller, Purpose.GROUP_TICKET, "feed.4")


async def test_a_party_in_too_many_groups_is_told(door: Door, caller: Asking) -> None:
    for number in range(51):
        await door.ask("PUT", f"/v1/groups/g{number}", {"members": ["api.*"]})
    reply = await door.asked(caller, Purpose.ENROL)
    assert reply.status == 409
    assert "register patterns" in reply.json()["error"]["message"]


async def test_what_is_given_out_is_counted(door: Door, caller: Asking, host: Asking) -> None:
    await door.granted(caller, Purpose.TICKET, host.name)
    await door.asked(caller, Purpose.TICKET, "x.y")
    await door.asked(caller, Purpose.GROUP_KEY, "scheduler")
    counted = {
        tuple(sample.labels.values()): sample.value
        for metric in door.service.figures.collect()
        for sample in metric.samples
    }
    assert counted == {
        ("ticket", "given"): 1, ("ticket", "not-found"): 1, ("group-key", "forbidden"): 1,
    }  # fmt: skip
