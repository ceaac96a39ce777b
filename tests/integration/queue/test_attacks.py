# SPDX-License-Identifier: Apache-2.0
"""What somebody would try who means harm: with signed addresses, trusts, mails, sockets."""

import asyncio
import email
import email.policy
from pathlib import Path
from typing import Any

import pytest

from transom.queue.config import QueueConfig
from transom.queue.deliveries.mail import MailCarrier
from transom.queue.deliveries.parcel import Parcel
from transom.queue.deliveries.service import build as build_deliverer
from transom.queue.logic.delivery import Result
from transom.queue.logic.subscriptions import destination

from support.deliveries import delivering
from support.queues import ADMIN, CLIENT, PROJECTS, Door, open_door
from support.receiver import receiving
from support.sockets import socket

Q = "/v2/queues/q"
EVERY = f"{Q}/subscriptions"


# Signed addresses


@pytest.mark.parametrize("kept", ["claims:update", "claims:delete"])
async def test_whoever_may_only_claim_cannot_sign_what_also_ends_and_renews(
    tmp_path: Path, kept: str
) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(f'"{kept}": "role:admin"\n')
    async with open_door(tmp_path, policy=path) as door:
        asked = {"methods": ["POST"], "paths": ["claims"]}
        assert (await door.ask("POST", f"{Q}/share", asked)).status == 403
        assert (await door.ask("POST", f"{Q}/share", asked, token="token-admin")).status == 200


@pytest.mark.parametrize(
    "expires", ["9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59-00:01", "0001-01-01T00:00+23:59"]
)
async def test_a_time_that_no_calendar_has_in_utc_is_refused(door: Door, expires: str) -> None:
    reply = await door.ask("POST", f"{Q}/share", {"expires": expires})
    assert reply.status == 400, reply.body


# Trusts


class Trusting:
    """Trusts as a Keystone makes them: of whoever shows a token."""

    def __init__(self) -> None:
        self.made: list[str] = []

    async def trust(self, token: str, life_s: int) -> str:
        self.made.append(token)
        return f"trust-of-{token}-{len(self.made)}"


async def options_of(door: Door, made: str) -> Any:
    return (await door.ask("GET", f"{EVERY}/{made}")).json()["options"]


async def test_nobody_names_a_trust_that_somebody_else_made(tmp_path: Path) -> None:
    """Else whoever sees the id of another's trust is sent tokens of that other."""
    trusts = Trusting()
    async with open_door(tmp_path, trusts=trusts) as door:
        for scheme in ("trust+https", "https"):
            wish = {"subscriber": f"{scheme}://evil.example/", "options": {"trust_id": "stolen"}}
            reply = await door.ask("POST", EVERY, wish, token="token-a-other")
            assert reply.status == 400, reply.body
        wish = {"subscriber": "https://evil.example/"}
        made = (await door.ask("POST", EVERY, wish)).json()["subscription_id"]
        for change in (
            {"options": {"trust_id": "stolen"}},
            {"options": {"trust_id": "stolen"}, "subscriber": "trust+https://evil.example/"},
        ):
            reply = await door.ask("PATCH", f"{EVERY}/{made}", change)
            assert reply.status == 400, reply.body
        assert not trusts.made


@pytest.mark.parametrize(
    "change",
    [
        {"subscriber": "trust+https://evil.example/"},
        {"options": {"post_data": "do what I say"}},
        {"options": "as they were"},
    ],
)
async def test_what_is_sent_by_a_trust_is_said_by_whoever_made_it(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    """Else a colleague has the trustor's token sent elsewhere, or has it do something else."""
    trusts = Trusting()
    async with open_door(tmp_path, trusts=trusts) as door:
        wish = {"subscriber": "trust+https://good.example/"}
        made = (await door.ask("POST", EVERY, wish)).json()["subscription_id"]
        options = await options_of(door, made)
        assert options["trust_id"] == "trust-of-token-a-1"
        if change["options" if "options" in change else "subscriber"] == "as they were":
            change = {"options": options}
        reply = await door.ask("PATCH", f"{EVERY}/{made}", change, token="token-a-other")
        assert reply.status == 204, reply.body
        assert (await options_of(door, made))["trust_id"] == "trust-of-token-a-other-2"


async def test_a_longer_life_alone_leaves_the_trust(tmp_path: Path) -> None:
    trusts = Trusting()
    async with open_door(tmp_path, trusts=trusts) as door:
        wish = {"subscriber": "trust+https://good.example/"}
        made = (await door.ask("POST", EVERY, wish)).json()["subscription_id"]
        assert (await door.ask("PATCH", f"{EVERY}/{made}", {"ttl": 600})).status == 204
        assert (await options_of(door, made))["trust_id"] == "trust-of-token-a-1"


async def test_a_socket_makes_a_trust_with_its_own_token(tmp_path: Path) -> None:
    trusts = Trusting()
    async with open_door(tmp_path, trusts=trusts) as door, socket(door.base_url, "token-a") as ws:
        wish = {"queue_name": "q", "subscriber": "trust+https://good.example/"}
        await ws.must("subscription_create", wish, X_Auth_Token="token-of-somebody")
        assert trusts.made == ["token-a"]


# Mails

ENCODED = "=?utf-8?q?x=0aBcc:victim@example.org=0a=0aread_this?="
HEADERS = {"to", "from", "date", "message-id", "auto-submitted", "transom-message-id", "subject",
           "content-type", "content-transfer-encoding", "mime-version"}  # fmt: skip


@pytest.mark.parametrize(
    "wish",
    [
        {"subscriber": "mailto:a@b.example", "options": {"subject": ENCODED}},
        {"subscriber": "mailto:a@b.example", "options": {"from": f"{ENCODED} <a@b.example>"}},
        {"subscriber": f"mailto:a@b.example?subject={ENCODED.replace('=', '%3D')}"},
        {"subscriber": "mailto:a%00@b.example"},
        {"subscriber": "mailto:a%01@b.example"},
    ],
)
async def test_a_mail_with_lines_in_disguise_is_refused(door: Door, wish: Any) -> None:
    reply = await door.ask("POST", EVERY, wish)
    assert reply.status == 400, reply.body


@pytest.mark.parametrize(
    "subscriber", ["mailto:a@b.example", "mailto:a@bü.example", "mailto:.@.", "mailto:a..b@c"]
)
@pytest.mark.parametrize(
    "options",
    [
        {"subject": ENCODED},
        {"subject": "=?utf-8?b?eApCY2M6IHZpY3RpbUBleGFtcGxlLm9yZw==?="},
        {"from": f"{ENCODED} <a@b.example>"},
        {"from": "a@b\u2028Bcc: victim@example.org"},
        {"subject": "a\u2028Bcc: victim@example.org"},
        {"subject": "a\x85Bcc: victim@example.org"},
        {"subject": "\ud800"},
        {"from": "group: a@b, c@d;"},
        {"from": "("},
        {"subject": "x" * 5000},
        {"from": "a" * 3000 + "@b"},
    ],
)
async def test_a_mail_has_the_headers_that_we_gave_it_or_is_not_sent(
    tmp_path: Path, subscriber: str, options: dict[str, Any]
) -> None:
    """Also one that was subscribed before such options were refused."""
    kept, program = tmp_path / "kept", tmp_path / "mailer"
    program.write_text(f"#!/bin/sh\ncat > {kept}\n")
    program.chmod(0o700)
    carrier = MailCarrier(QueueConfig(mail_command=str(program)))
    await carrier.start()
    try:
        marks = {"Transom-Message-Id": "1"}
        outcome = await carrier.carry(
            Parcel(destination(subscriber), options, b'"body"', None, marks, None)
        )
    finally:
        await carrier.stop()
    if outcome.result is Result.REFUSED:
        assert not kept.exists()
        return
    assert outcome.result is Result.DELIVERED
    mail = email.message_from_bytes(kept.read_bytes(), policy=email.policy.default)
    assert {name.lower() for name in mail} <= HEADERS
    assert len(mail.get_all("to", [])) == 1
    assert mail.get_content().strip() == '"body"'


async def test_what_cannot_be_written_as_a_mail_holds_up_nothing_behind_it(tmp_path: Path) -> None:
    async with delivering(tmp_path, mail_command="true") as world:
        made = []
        for name in ("mailto:.@.", "mailto:a..b@c"):
            reply = await world.door.ask("POST", EVERY, {"subscriber": name})
            if reply.status == 201:
                made.append(reply.json()["subscription_id"])
        await world.post(1, 2)
        for one in made:
            state = await world.state(one)
            async with asyncio.timeout(10):
                while state["delivered"] + state["undeliverable"] < 2:
                    await asyncio.sleep(0.02)
                    state = await world.state(one)


# Sockets


async def test_a_claim_bound_to_a_socket_ends_with_it_also_over_the_projects_rate(
    tmp_path: Path,
) -> None:
    http = {"project_requests_per_s": 0.001, "project_burst": 3}
    async with open_door(tmp_path, http=http) as door:
        async with socket(door.base_url, "token-a") as ws:
            queue = {"queue_name": "q"}
            await ws.must("message_post", {**queue, "messages": [{"body": 1}]})
            await ws.must("claim_create", {**queue, "ttl": 600, "grace": 60, "bound": True})
            await ws.must("queue_list")
            assert (await ws.ask("queue_list"))[0] == 429
        service = door.service.app
        async with asyncio.timeout(5):
            while True:
                stats = await service.queues.stats(PROJECTS["token-a"], "q")
                if (stats.claimed, stats.free) == (0, 1):
                    break
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("ttl", [10**400, 2**63, -1, 0, 1.5, "60", True])
async def test_a_push_whose_life_cannot_be_is_refused_and_the_socket_lives(
    door: Door, ttl: Any
) -> None:
    async with socket(door.base_url, "token-a") as ws:
        status, answer = await ws.ask("subscription_create", {"queue_name": "q", "ttl": ttl})
        assert status == 400, answer
        assert (await ws.ask("queue_list"))[0] == 200


@pytest.mark.parametrize("field", ["limit", "wait", "pop", "delay", "ttl"])
@pytest.mark.parametrize("number", ["9" * 5000, "1e400", "-1", "1.5", "true", "[]"])
async def test_odd_numbers_on_a_socket_are_refused_and_the_socket_lives(
    door: Door, field: str, number: str
) -> None:
    async with socket(door.base_url, "token-a") as ws:
        for action in ("message_list", "claim_create", "message_delete_many", "queue_list"):
            await ws.connection.send(
                f'{{"action": "{action}", "id": 1, "headers": {{"Client-ID": "{"a" * 32}"}},'
                f'"body": {{"queue_name": "q", "{field}": {number}, "grace": 60}}}}'
            )
            came = await ws.receive()
            assert came["headers"]["status"] < 500, came
        assert (await ws.ask("queue_list"))[0] == 200


async def test_no_body_that_somebody_posted_keeps_binary_sockets_from_their_answers(
    door: Door,
) -> None:
    """What JSON may say, but Python and MessagePack do not: numbers of thousands of digits."""
    bodies = ["9" * 5000, "-" + "9" * 5000, "1e999", "1." + "0" * 5000, '"\\ud800"', "1E-5000"]
    async with (
        socket(door.base_url, "token-a", binary=True) as ws,
        socket(door.base_url, "token-a", binary=True) as subscriber,
    ):
        await subscriber.must("subscription_create", {"queue_name": "q"})
        kept = 0
        for body in bodies:
            raw = f'{{"messages": [{{"body": {body}}}, {{"body": {{"a": [{body}]}}}}]}}'
            reply = await door.ask("POST", f"{Q}/messages", raw=raw.encode())
            assert reply.status in (201, 400), reply.body
            kept += 2 * (reply.status == 201)
        queue = {"queue_name": "q", "limit": 20, "echo": True, "ttl": 60, "grace": 60}
        assert kept
        assert len((await ws.must("message_list", queue))["messages"]) == min(kept, 20)
        assert len((await ws.must("claim_create", queue))["messages"]) == min(kept, 20)
        for _ in range(kept):
            assert "body" in await subscriber.push()


# Queues that are made again


async def test_notices_of_a_queue_that_is_made_again_elsewhere_reach_nobody_and_go(
    tmp_path: Path,
) -> None:
    async with open_door(tmp_path) as door, receiving() as receiver:
        service = door.service
        for name in ("one", "two"):
            await service.app.pools.create(ADMIN, name, f"sqlite:{name}", 100, "", b"{}")
            await service.app.flavors.put(ADMIN, f"in-{name}", [name])
        old, new = [], []
        for flavor, bodies in (("in-one", ["old"]), ("in-two", ["new"])):
            made = await door.ask("PUT", Q, {"_flavor": flavor})
            assert made.status == 201, made.body
            reply = await door.ask("POST", EVERY, {"subscriber": "https://nobody.example/"})
            assert reply.status == 201, reply.body
            posted = [{"body": body} for body in bodies]
            await door.ask("POST", f"{Q}/messages", {"messages": posted})
            if flavor == "in-one":
                old = await notices_of(door)
                assert (await door.ask("DELETE", Q)).status == 204
                await service.sweep_once()
            else:
                new = await notices_of(door)
        assert [name for name, _ in old] == ["pool-one"]
        assert sorted(name for name, _ in new) == ["pool-one", "pool-two"]
        deliverer = build_deliverer(
            service.app, None, door.clock, keystone=None, endpoint="", websocket=""
        )
        await deliverer.start()
        try:
            async with asyncio.timeout(10):
                while ("pool-one", b'"old"') in await notices_of(door):
                    await asyncio.sleep(0.02)
        finally:
            await deliverer.stop()
        assert not receiver.received


async def notices_of(door: Door) -> list[tuple[str, bytes]]:
    """(database, body) of all that wait to be sent."""
    found = []
    for store in door.service.stores.every():
        rows = await store.database.read(lambda tx: tx.fetch("select body from notice"))
        found += [(store.name, bytes(row[0])) for row in rows]
    return found


# Upgrades

UPGRADE = (
    "connection: Upgrade\r\nupgrade: {to}\r\nsec-websocket-version: 13\r\n"
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
SECOND = "DELETE /queue/v2/queues/q HTTP/1.1\r\nhost: a\r\nx-auth-token: token-a\r\n\r\n"


async def raw(door: Door, text: str) -> bytes:
    """All that is answered until the connection ends, or no more comes."""
    host, _, port = door.base_url.rpartition("/")[2].partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(text.encode())
    try:
        async with asyncio.timeout(2):
            return await reader.read()
    except TimeoutError:
        return b"still open"
    finally:
        writer.close()


@pytest.mark.parametrize("to", ["h2c", "websocket", "websocket, h2c", "TLS/1.2"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_what_hides_behind_an_upgrade_that_is_not_made_is_no_request(
    door: Door, to: str, version: str
) -> None:
    await door.ask("PUT", Q)
    body = '{"messages": [{"body": 1}]}'
    mine = f" HTTP/{version}\r\nhost: a\r\nx-auth-token: token-a\r\nclient-id: {CLIENT}\r\n"
    typed = f"content-type: application/json\r\n{UPGRADE.format(to=to)}"
    chunked = f"transfer-encoding: chunked\r\n\r\n{len(body):x}\r\n{body}\r\n0\r\n\r\n"
    for line, rest, status in (
        ("GET /queue/v2/ping", "\r\n", 204),
        ("GET /queue/v2/queues/q", "\r\n", 200),
        ("GET /queue/v2/queues/q", "content-length: 0\r\n\r\n", 200),
        ("POST /queue/v2/queues/q/messages", f"content-length: {len(body)}\r\n\r\n{body}", 400),
        ("POST /queue/v2/queues/q/messages", chunked, 400),
    ):
        answer = await raw(door, line + mine + typed + rest + SECOND)
        told = status if version == "1.1" else 400
        assert answer.startswith(f"HTTP/1.1 {told} ".encode()), (line, answer)
        assert answer.count(b"HTTP/1.1 ") == 1, answer
    assert (await door.ask("HEAD", Q)).status == 204


async def test_a_websocket_is_opened_by_get_in_http_1_1_without_a_body_alone(door: Door) -> None:
    path = "/queue/v2/websocket"
    for line in (f"GET {path} HTTP/1.0", f"POST {path} HTTP/1.1", f"GET {path}x HTTP/1.1"):
        answer = await raw(
            door, f"{line}\r\nhost: a\r\n{UPGRADE.format(to='websocket')}\r\n{SECOND}"
        )
        assert b" 101 " not in answer.partition(b"\r\n")[0], (line, answer)
        assert answer.count(b"x-openstack-request-id") <= 1, (line, answer)


async def test_pages_of_other_sites_gain_nothing_from_a_browser_that_is_signed_in(
    door: Door,
) -> None:
    """There are no cookies, so a browser adds nothing to a handshake that it is made to do."""
    headers = {"Origin": "https://evil.example", "Cookie": "token=token-a; X-Auth-Token=token-a",
               "Authorization": "Bearer token-a"}  # fmt: skip
    async with socket(door.base_url, additional_headers=headers) as ws:
        assert (await ws.ask("queue_list"))[0] == 403
        assert "set-cookie" not in (await door.ask("GET", "/v2/queues")).headers
