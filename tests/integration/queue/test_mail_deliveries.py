"""Subscribers by mail: through a server, through a command; confirmed by a link."""

import asyncio
import json
import stat
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from transom.errors import ConfigError
from transom.queue.deliveries import mail

from support.deliveries import EVERY, delivering
from support.smtp import mail_server

SUBSCRIBER = "mailto:someone@example.org?subject=News"


async def until(probe: object) -> None:
    async with asyncio.timeout(15):
        while not probe():  # type: ignore[operator]
            await asyncio.sleep(0.02)


async def test_a_message_comes_as_a_mail(tmp_path: Path) -> None:
    async with (
        mail_server() as server,
        delivering(tmp_path, smtp_url=f"smtp://127.0.0.1:{server.port}") as world,
    ):
        body = {"subscriber": SUBSCRIBER, "options": {"from": "queue@example.org"}}
        assert (await world.door.ask("POST", EVERY, body)).status == 201
        await world.post({"a": "ö"}, "two")
        await until(lambda: len(server.mails) == 2)
    first = server.mails[0]
    assert (first["to"], first["from"]) == ("someone@example.org", "queue@example.org")
    assert first["subject"] == "News"
    assert json.loads(first.get_content()) == {
        "ttl": 3600, "body": {"a": "ö"}, "queue_name": "q", "Message_Type": "Notification",
    }  # fmt: skip
    assert json.loads(server.mails[1].get_content())["body"] == "two"


async def test_what_the_server_says_for_now_is_tried_again_and_for_good_is_not(
    tmp_path: Path,
) -> None:
    answers = iter(["451 later", "250 ok"])
    async with (
        mail_server() as server,
        delivering(tmp_path, smtp_url=f"smtp://127.0.0.1:{server.port}") as world,
    ):
        server.answer = lambda recipient: next(answers, "550 nobody")
        reply = await world.door.ask("POST", EVERY, {"subscriber": SUBSCRIBER})
        made = reply.json()["subscription_id"]
        await world.post(1, 2)
        state = await world.until_state(made, delivered=1, undeliverable=1)
        assert "answered 550" in state["last_error"]
        assert len(server.mails) == 1


async def test_a_mail_that_the_server_has_is_delivered_however_it_parts(tmp_path: Path) -> None:
    async with (
        mail_server() as server,
        delivering(tmp_path, smtp_url=f"smtp://127.0.0.1:{server.port}") as world,
    ):
        server.farewell = "554 no"
        reply = await world.door.ask("POST", EVERY, {"subscriber": SUBSCRIBER})
        await world.post(1, 2)
        state = await world.until_state(reply.json()["subscription_id"], delivered=2)
        assert (state["undeliverable"], len(server.mails)) == (0, 2)


@pytest.mark.parametrize("url", ["smtp://", "http://host", "host", "smtp://[::1", "smtp://h:x"])
def test_an_address_that_is_no_mail_servers_is_told(url: str) -> None:
    with pytest.raises(ConfigError, match="smtps://host:465"):
        mail.mail_server(url)


async def test_without_a_server_a_mail_is_undeliverable(tmp_path: Path) -> None:
    async with delivering(tmp_path) as world:
        reply = await world.door.ask("POST", EVERY, {"subscriber": SUBSCRIBER})
        await world.post(1)
        state = await world.until_state(reply.json()["subscription_id"], undeliverable=1)
        assert "smtp_url" in state["last_error"]


async def test_a_command_takes_the_mail(tmp_path: Path) -> None:
    kept, program = tmp_path / "kept", tmp_path / "mailer"
    program.write_text(f'#!/bin/sh\n[ "$1" = "-t" ] || exit 64\ncat >> {kept}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    async with delivering(tmp_path / "data", mail_command=f"{program} -t") as world:
        await world.door.ask("POST", EVERY, {"subscriber": SUBSCRIBER})
        await world.post("by command")
        await until(lambda: kept.exists() and "by command" in kept.read_text())
    assert "To: someone@example.org" in kept.read_text()


async def test_a_mail_subscription_is_confirmed_by_a_link(tmp_path: Path) -> None:
    async with mail_server() as server:
        options = {
            "smtp_url": f"smtp://127.0.0.1:{server.port}",
            "require_confirmation": True,
            "confirmation_url": "https://portal.example/confirm",
        }
        async with delivering(tmp_path, **options) as world:
            await world.door.ask("POST", EVERY, {"subscriber": SUBSCRIBER})
            await until(lambda: server.mails)
            text = server.mails[0].get_content()
            link = next(line for line in text.split() if line.startswith("https://portal"))
            fields = {name: found[0] for name, found in parse_qs(urlsplit(link).query).items()}
            headers = {
                "url-signature": fields["Signature"],
                "url-methods": fields["Methods"],
                "url-paths": fields["Paths"],
                "url-expires": fields["Expires"],
                "x-project-id": fields["Project"],
            }
            path = fields["Url"].partition("/queue")[2]
            reply = await world.door.ask(
                "PUT", path, {"confirmed": True}, token="", headers=headers
            )
            assert reply.status == 204
            await world.post("seen")
            await until(lambda: len(server.mails) == 2)


async def test_without_a_page_for_links_mails_cannot_be_confirmed(tmp_path: Path) -> None:
    async with delivering(tmp_path, require_confirmation=True) as world:
        reply = await world.door.ask("POST", EVERY, {"subscriber": SUBSCRIBER})
        assert reply.status == 400
        assert "confirmation_url" in reply.json()["description"]
