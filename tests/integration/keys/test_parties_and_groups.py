"""Parties, groups and rotation, as admins say; on files and on PostgreSQL."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from transom.messaging.security import certificates, tickets
from transom.messaging.security.keyfile import decode_key_file, encode_key_file
from transom.messaging.security.tickets import Purpose

from support.keys import Asking, Door, opened_door, text_of

pytestmark = pytest.mark.usefixtures("engine")
DAY_S = 86_400


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with opened_door(tmp_path) as door:
        yield door


async def test_a_generation_changes_only_with_the_key(door: Door) -> None:
    key, path = os.urandom(32), "/v1/keys/api.host1"
    first = await door.ask("PUT", path, {"key": text_of(key)})
    assert first.status == 201
    assert first.json()["name"] == "api.host1"
    door.clock.move_s(5)
    again = await door.ask("PUT", path, {"key": text_of(key)})
    assert (again.status, again.json()) == (200, first.json())
    other = await door.ask("PUT", path, {"key": text_of(os.urandom(32))})
    assert other.status == 201
    assert other.json()["generation"] > first.json()["generation"]
    back = await door.ask("PUT", path, {"key": text_of(key)})
    assert back.json()["generation"] > other.json()["generation"]


async def test_no_answer_shows_a_key(door: Door) -> None:
    key = os.urandom(32)
    replies = [
        await door.ask("PUT", "/v1/keys/api.host1", {"key": text_of(key)}),
        await door.ask("PUT", "/v1/keys/api", {"key": text_of(key)}),
        await door.ask("PUT", "/v1/keys/api.host1", {"key": text_of(key)[:-8]}),
        await door.ask("GET", "/v1/keys/api.host1"),
        await door.ask("GET", "/v1/keys"),
    ]
    assert [reply.status for reply in replies] == [201, 400, 400, 200, 200]
    for reply in replies:
        for shown in (text_of(key)[:20], key.hex()):
            assert shown not in reply.body.decode()
    assert replies[3].json()["keys"][0]["used_at"] is None


async def test_what_is_no_key_is_refused(door: Door) -> None:
    for body in (
        None, {}, {"key": ""}, {"key": 5}, {"key": text_of(bytes(31))}, {"key": text_of(bytes(33))},
        {"key": text_of(bytes(32))}, {"key": text_of(os.urandom(32)), "more": 1},
    ):  # fmt: skip
        assert (await door.ask("PUT", "/v1/keys/api.host1", body)).status == 400, body
    assert (await door.ask("GET", "/v1/keys/api.host1")).status == 404
    for name in ("api", "api.", "a%20b.c", "a." + "x" * 300, "caf%C3%A9.x"):
        path = f"/v1/keys/{name}"
        assert (await door.ask("PUT", path, {"key": text_of(os.urandom(32))})).status == 400, name


async def test_only_admins_say_who_there_is(door: Door) -> None:
    body = {"key": text_of(os.urandom(32))}
    for token, status in (("token-member", 403), ("token-none", 401), ("", 401)):
        for method, path, sent in (
            ("PUT", "/v1/keys/api.host1", body), ("GET", "/v1/keys/api.host1", None),
            ("GET", "/v1/keys", None), ("DELETE", "/v1/keys/api.host1", None),
            ("PUT", "/v1/groups/g", {"members": []}), ("GET", "/v1/groups/g", None),
            ("GET", "/v1/groups", None), ("DELETE", "/v1/groups/g", None),
        ):  # fmt: skip
            reply = await door.ask(method, path, sent, token=token)
            assert reply.status == status, (method, path)


async def test_parties_are_paged_by_name(tmp_path: Path) -> None:
    async with opened_door(tmp_path, max_page=2) as door:
        names = ["a.1", "b.1", "b.2", "c.1", "d.1"]
        for name in reversed(names):
            await door.party(name)
        seen, path = [], "/v1/keys?limit=2"
        while path:
            page = (await door.ask("GET", path)).json()
            assert len(page["keys"]) <= 2
            seen += [party["name"] for party in page["keys"]]
            path = page["links"][0]["href"] if page["links"] else ""
        assert seen == names
        assert (await door.ask("GET", "/v1/keys?limit=3")).status == 400
        for name in ("g1", "g2", "g3"):
            await door.ask("PUT", f"/v1/groups/{name}", {"members": ["a.*"]})
        page = (await door.ask("GET", "/v1/groups?marker=g1")).json()
        assert [group["name"] for group in page["groups"]] == ["g2", "g3"]


async def test_a_group_is_what_was_put_last(door: Door) -> None:
    path = "/v1/groups/feed.*"
    made = await door.ask("PUT", path, {"members": ["b.*", "a.1", "b.*"]})
    assert (made.status, made.json()) == (201, {"name": "feed.*", "members": ["a.1", "b.*"]})
    assert (await door.ask("PUT", path, {"members": ["c.1"]})).status == 200
    assert (await door.ask("GET", path)).json()["members"] == ["c.1"]
    assert (await door.ask("DELETE", path)).status == 204
    assert (await door.ask("DELETE", path)).status == 404
    assert (await door.ask("GET", path)).status == 404
    for name, members in (("a%20b", []), ("g", ["a b"]), ("g", [f"a.{n}" for n in range(101)])):
        assert (await door.ask("PUT", f"/v1/groups/{name}", {"members": members})).status == 400


async def test_members_come_and_go(door: Door) -> None:
    custody = door.service.local.custody
    assert (await custody.change_members("g", ["a.1", "b.*"])).members == ("a.1", "b.*")
    changed = await custody.change_members("g", ["c.1"], remove=["a.1", "z.9"])
    assert changed.members == ("b.*", "c.1")
    assert (await custody.group("g")).members == ("b.*", "c.1")


async def test_a_removed_party_asks_for_nothing_any_more(door: Door) -> None:
    caller, _ = await door.party("api.host1"), await door.party("scheduler.host1")
    await door.granted(caller, Purpose.TICKET, "scheduler.host1")
    assert (await door.ask("DELETE", "/v1/keys/api.host1")).status == 204
    assert (await door.ask("DELETE", "/v1/keys/api.host1")).status == 404
    assert (await door.asked(caller, Purpose.TICKET, "scheduler.host1")).status == 401
    door.clock.move_s(1)
    again = await door.party("api.host1")
    assert again.key != caller.key
    await door.granted(again, Purpose.TICKET, "scheduler.host1")
    assert (await door.asked(caller, Purpose.TICKET, "scheduler.host1")).status == 401


async def test_a_new_key_is_used_for_tickets_when_its_party_has_it(door: Door) -> None:
    caller, old = await door.party("api.host1"), await door.party("scheduler.host1")
    await door.granted(old, Purpose.ENROL)
    door.clock.move_s(1)
    file = await door.enrolment.rotated("scheduler.host1", at_once=False)
    assert file.keys[1:] == (old.key,)
    new = Asking.of(file, door.clock)
    early = await door.granted(caller, Purpose.TICKET, "scheduler.host1")
    assert tickets.open_ticket(early.ticket, [old.key]), "its file may not be there yet"
    await door.granted(old, Purpose.ENROL)
    await door.granted(new, Purpose.ENROL)
    later = await door.granted(caller, Purpose.TICKET, "scheduler.host1")
    assert tickets.open_ticket(later.ticket, [new.key])
    assert tickets.open_ticket(early.ticket, file.keys), "what was sent before opens too"
    door.clock.move_s(DAY_S)
    assert (await door.asked(old, Purpose.ENROL)).status == 401, "the overlap is over"
    await door.granted(new, Purpose.ENROL)
    assert old.key in (await door.enrolment.file_of("scheduler.host1")).keys
    door.clock.move_s(7 * DAY_S + 3600)
    assert (await door.enrolment.file_of("scheduler.host1")).keys == (new.key,)


async def test_a_lost_key_can_be_voided_at_once(door: Door) -> None:
    lost = await door.party("api.host1")
    await door.granted(lost, Purpose.ENROL)
    file = await door.enrolment.rotated("api.host1", at_once=True)
    assert lost.key not in file.keys
    assert (await door.asked(lost, Purpose.ENROL)).status == 401
    await door.granted(Asking.of(file, door.clock), Purpose.ENROL)
    third = os.urandom(32)
    await door.ask("PUT", "/v1/keys/api.host1", {"key": text_of(third)})
    assert len((await door.ask("GET", "/v1/keys/api.host1")).json()["keys"]) == 2
    await door.ask("PUT", "/v1/keys/api.host1", {"key": text_of(third), "at_once": True})
    assert len((await door.ask("GET", "/v1/keys/api.host1")).json()["keys"]) == 1


async def directory(door: Door, query: str) -> list[str]:
    reply = await door.ask("GET", f"/v1/certificates?{query}", token="")
    return list(reply.json()["certificates"])


@pytest.mark.parametrize("how", ["remove", "rotate", "put", "put again"])
async def test_who_is_shut_out_of_a_group_has_none_of_the_keys_that_follow(
    door: Door, how: str
) -> None:
    """The next generations begin at once; what was sent under those before can still be opened."""
    enrolment, custody = door.enrolment, door.service.local.custody
    sender, host = await door.party("api.host1"), await door.party("scheduler.host1")
    thief = await door.party("scheduler.host2")
    await door.ask("PUT", "/v1/groups/feed.*", {"members": ["scheduler.*"]})
    await door.granted(thief, Purpose.ENROL)
    before = {
        group: await door.granted(thief, Purpose.GROUP_KEY, group)
        for group in ("scheduler", "feed.images")
    }
    other = await door.granted(sender, Purpose.GROUP_KEY, "api")
    assert await directory(door, "topic=scheduler&server=host2")
    match how:
        case "remove":
            await custody.remove(thief.name)
        case "rotate":
            await enrolment.rotated(thief.name, at_once=True)
        case "put":
            await custody.put(thief.name, os.urandom(32), at_once=True)
        case _:
            await custody.put(thief.name, thief.key, at_once=True)
    assert await directory(door, "topic=scheduler&server=host2") == []
    for group, known in before.items():
        sent = await door.granted(sender, Purpose.GROUP_TICKET, group)
        assert sent.generation > known.generation
        old = await door.granted(host, Purpose.GROUP_KEY, group, known.generation)
        assert (old.key, old.key_end_ms) == (known.key, known.key_end_ms)
    assert (await door.granted(sender, Purpose.GROUP_KEY, "api")).generation == other.generation


async def test_a_group_that_loses_a_member_begins_another_key(door: Door) -> None:
    custody, host = door.service.local.custody, await door.party("scheduler.host1")
    await custody.put_group("feed.*", ["scheduler.*", "api.*"])

    async def generation() -> int:
        return (await door.granted(host, Purpose.GROUP_TICKET, "feed.images")).generation

    last = await generation()
    await custody.put_group("feed.*", ["scheduler.*", "api.*", "web.*"])
    await custody.change_members("feed.*", ["x.*"], remove=["nobody.*"])
    await custody.put_group("other", ["api.*"])
    await custody.put_group("other", [])
    assert await generation() == last, "who comes changes nothing, nor do other groups"
    await custody.change_members("feed.*", remove=["api.*"])
    assert await generation() > last
    last = await generation()
    await custody.put_group("feed.*", ["scheduler.*"])
    assert await generation() > last
    last = await generation()
    await custody.put_group("feed.images", ["scheduler.*"])
    await custody.remove_group("feed.*")
    assert await generation() > last


async def test_of_two_that_rotate_at_once_one_is_told(door: Door) -> None:
    await door.party("api.host1")
    done = await asyncio.gather(
        *(door.service.local.custody.rotate("api.host1") for _ in range(5)), return_exceptions=True
    )
    made = [one for one in done if isinstance(one, int)]
    assert made
    told = [str(one) for one in done if not isinstance(one, int)]
    assert all("at the same time" in text for text in told)
    party = await door.service.local.custody.party("api.host1")
    assert len([key for key in party.keys if key.until_ms is None]) == 1
    assert party.newest is not None
    assert party.newest.generation == max(made)


async def test_certificates_hold_over_a_rotation_of_the_authority(door: Door) -> None:
    caller = await door.party("api.host1")
    before = await door.granted(caller, Purpose.ENROL)
    authorities = door.service.local.authorities
    door.clock.move_s(1)
    made = await authorities.rotate()
    after = await door.granted(caller, Purpose.ENROL)
    assert after.authorities == (made.public_key, *before.authorities)
    for grant in (before, after):
        assert certificates.check(grant.certificate, after.authorities, now_ms=door.clock.now_ms())
    file = await door.enrolment.file_of("api.host1")
    assert file.authorities == after.authorities
    door.clock.move_s(7 * DAY_S + 3600)
    assert [one.public_key for one in await authorities.known()] == [made.public_key]


async def test_an_authority_is_believed_as_long_as_its_longest_certificate(door: Door) -> None:
    file = await door.enrolment.certified("api.host1")
    door.clock.move_s(1)
    authorities = door.service.local.authorities
    await authorities.rotate()
    door.clock.move_s(300 * DAY_S)
    known = [one.public_key for one in await authorities.known()]
    assert certificates.check(file.certificate, known, now_ms=door.clock.now_ms())
    door.clock.move_s(65 * DAY_S)
    assert len(await authorities.known()) == 1


async def test_a_key_file_says_all_that_a_party_needs(door: Door) -> None:
    file = await door.enrolment.add("api.host1")
    assert decode_key_file(encode_key_file(file), "there") == file
    assert file.server == door.base_url + "/keys"
    assert await door.enrolment.file_of("api.host1") == file, "enrolled again it is the same"
    with pytest.raises(Exception, match="There is a party"):
        await door.enrolment.add("api.host1")
    fresh = await door.enrolment.file_of("api.host2")
    assert fresh.keys != file.keys


async def test_after_a_restore_old_requests_are_refused_and_no_number_comes_again(
    door: Door,
) -> None:
    from transom.keys.service import restored

    caller = await door.party("api.host1")
    before = (await door.ask("GET", "/v1/keys/api.host1")).json()["keys"][0]["generation"]
    request = caller.request(Purpose.ENROL)
    door.clock.move_s(10)
    now_ms = door.clock.now_ms()
    await door.service.database.write(lambda tx: restored(tx, now_ms))
    timestamp_ms = request.timestamp_ms
    assert (await door.asked(caller, Purpose.ENROL, timestamp_ms=timestamp_ms)).status == 401
    await door.granted(caller, Purpose.ENROL)
    assert await door.service.local.custody.rotate("api.host1") >= now_ms > before


async def test_versions_are_shown_to_all(door: Door) -> None:
    found = await door.ask("GET", "", token="")
    assert found.status == 300
    href = found.json()["versions"][0]["links"][0]["href"]
    assert href == "/keys/v1/"
    shown = await door.ask("GET", href.removeprefix("/keys"), token="")
    assert (shown.status, shown.json()["version"]["id"]) == (200, "v1.0")
