"""`transom keys`: on a whole Transom, as a person would, while it runs and while it does not."""

import asyncio
import json
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from transom.messaging.security import tickets
from transom.messaging.security.keyfile import KeyFile, decode_key_file
from transom.messaging.security.tickets import Grant, Purpose
from transom.runtime.clock import SystemClock

from support.http import ask
from support.keys import Asking, path_of, text_of
from support.load import Session, login
from support.postgres import fresh_database
from support.stack import Stack, get


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path / "data")
    try:
        yield stack.start()
    finally:
        stack.stop()


def key_file(stack: Stack, tmp_path: Path, *words: str) -> KeyFile:
    """What `transom keys WORDS` writes."""
    path = tmp_path / f"{words[1]}.key"
    said = stack.transom("keys", *words, "--out", str(path)).stdout
    assert str(path) in said
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    return decode_key_file(path.read_bytes(), "")


def granted(file: KeyFile, purpose: Purpose, destination: str = "", server: str = "") -> Grant:
    """Asks the server that the file names, or the one at `server`."""
    party = Asking.of(file, SystemClock())

    async def asking() -> Grant:
        request = party.request(purpose, destination)
        body = {"request": text_of(party.signed(request))}
        method, path = path_of(purpose, party.name)
        base, _, prefix = (server or file.server).rpartition("/")
        reply = await ask(base, method, f"/{prefix}{path}", json_body=body)
        return party.opened(reply, request)

    return asyncio.run(asking())


def audited(stack: Stack) -> list[dict[str, object]]:
    lines = (stack.data / "logs" / "audit.log").read_text().splitlines()
    return [entry for line in lines if (entry := json.loads(line))["path"].startswith("keys ")]


def test_two_parties_of_a_fresh_transom_get_a_ticket_between_them(
    stack: Stack, tmp_path: Path
) -> None:
    host = key_file(stack, tmp_path, "add", "scheduler.host1")
    caller = key_file(stack, tmp_path, "enrol", "api.host1")
    assert host.server == f"{stack.url}/keys"
    grant = granted(caller, Purpose.TICKET, "scheduler.host1")
    assert tickets.open_ticket(grant.ticket, host.keys).key == grant.key
    assert stack.transom("keys", "list").stdout.splitlines() == [
        "api.host1  in use", "scheduler.host1  not used yet",
    ]  # fmt: skip
    again = stack.transom("keys", "add", "api.host1", "--out", str(tmp_path / "x"), check=False)
    assert again.returncode == 1
    assert "There is a party" in again.stderr
    rotated = key_file(stack, tmp_path, "rotate", "api.host1")
    assert rotated.keys[1:] == caller.keys
    shown = json.loads(stack.transom("keys", "show", "api.host1", "--json").stdout)
    assert [key["until"] is None for key in shown["keys"]] == [True, False]
    assert "in use, until" in stack.transom("keys", "show", "api.host1").stdout
    void = key_file(stack, tmp_path, "rotate", "api.host1", "--at-once")
    assert len(void.keys) == 1
    granted(void, Purpose.ENROL)
    with pytest.raises(AssertionError, match="401"):
        granted(caller, Purpose.ENROL)
    assert "removed" in stack.transom("keys", "remove", "api.host1").stdout
    with pytest.raises(AssertionError, match="401"):
        granted(void, Purpose.ENROL)
    told = [(entry["path"], entry["outcome"]) for entry in audited(stack)]
    assert told == [
        ("keys add scheduler.host1", "allowed"), ("keys enrol api.host1", "allowed"),
        ("keys add api.host1", "failed"), ("keys rotate api.host1", "allowed"),
        ("keys rotate api.host1 --at-once", "allowed"), ("keys remove api.host1", "allowed"),
    ]  # fmt: skip
    denied = [
        json.loads(line)
        for line in (stack.data / "logs" / "audit.log").read_text().splitlines()
        if '"/keys/v1/certificates/api.host1"' in line
    ]
    log = (stack.data / "logs" / "audit.log").read_text()
    assert "/keys/v1/tickets" not in log, "what is given is counted, and not written down"
    assert [entry["outcome"] for entry in denied] == ["allowed", "denied", "denied"]
    assert denied[-1]["claimed"] == {"user_name": "api.host1"}
    metrics = get(stack.url + "/metrics")[1].decode()
    assert 'transom_keys_requests_total{outcome="given",purpose="ticket"} 1.0' in metrics


def test_groups_are_said_by_commands(stack: Stack, tmp_path: Path) -> None:
    caller = key_file(stack, tmp_path, "add", "api.host1")
    said = stack.transom("keys", "group-add", "feed.*", "api.*", "scheduler.host1").stdout
    assert said == "feed.*: api.*, scheduler.host1\n"
    assert granted(caller, Purpose.GROUP_KEY, "feed.images").destination == "feed.images"
    assert "also in the groups feed.*" in stack.transom("keys", "show", "api.host1").stdout
    assert stack.transom("keys", "group-remove", "feed.*", "api.*").stdout == (
        "feed.*: scheduler.host1\n"
    )
    with pytest.raises(AssertionError, match="403"):
        granted(caller, Purpose.GROUP_KEY, "feed.images")
    listed = json.loads(stack.transom("keys", "group-list", "--json").stdout)
    assert listed[0]["members"] == ["scheduler.host1"]
    assert stack.transom("keys", "group-list").stdout == "feed.*: scheduler.host1\n"
    stack.transom("keys", "group-remove", "feed.*")
    assert stack.transom("keys", "group-list").stdout == ""
    assert stack.transom("keys", "group-remove", "feed.*", check=False).returncode == 1


def test_a_file_of_somebody_elses_is_not_overwritten(stack: Stack, tmp_path: Path) -> None:
    key_file(stack, tmp_path, "add", "api.host1")
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    for path in (other, tmp_path / "api.host1.key", tmp_path / "none" / "x.key"):
        done = stack.transom("keys", "enrol", "b.host1", "--out", str(path), check=False)
        assert done.returncode == 1
        assert "--out" in done.stderr
    assert other.read_text() == "mine"
    assert stack.transom("keys", "list").stdout == "api.host1  not used yet\n", "nothing was made"


def test_everything_outlives_a_restart_and_a_change_of_the_master_key(
    stack: Stack, tmp_path: Path
) -> None:
    host = key_file(stack, tmp_path, "add", "scheduler.host1")
    public = key_file(stack, tmp_path, "enrol", "compute.host1", "--public-key")
    assert public.identity
    assert public.certificate
    before = granted(host, Purpose.GROUP_KEY, "scheduler")
    for _ in range(2):
        assert "sealed again: keys (" in stack.transom("secrets", "rotate").stdout
        assert granted(host, Purpose.GROUP_KEY, "scheduler").key == before.key
    stack.stop()
    assert stack.transom("keys", "list").stdout.startswith("compute.host1  no key\n")
    late = key_file(stack, tmp_path, "add", "api.host1")
    stack.start()
    server = f"{stack.url}/keys"
    after = granted(host, Purpose.GROUP_KEY, "scheduler", server)
    assert (after.key, after.generation) == (before.key, before.generation)
    assert after.authorities == before.authorities
    granted(late, Purpose.TICKET, "scheduler.host1", server)
    stack.transom("keys", "rotate-authority")
    assert granted(host, Purpose.ENROL, server=server).authorities[1:] == before.authorities


@pytest.mark.parametrize("where", ["files", "postgres"])
def test_a_backup_carries_the_keys(tmp_path: Path, where: str) -> None:
    with fresh_database() as source, fresh_database() as target:
        on_server = ["--database", source.url] if where == "postgres" else []
        stack = Stack(tmp_path / "data")
        try:
            stack.start(*on_server)
            host = key_file(stack, tmp_path, "add", "scheduler.host1")
            before = granted(host, Purpose.GROUP_KEY, "scheduler")
            archive = tmp_path / "night.tar"
            stack.transom("backup", str(archive))
            lost = key_file(stack, tmp_path, "add", "api.host1")
            stack.stop()
            stack.data.rename(tmp_path / "broken")
            there = ["--database", target.url] if where == "postgres" else []
            stack.transom("restore", str(archive), *there)
            stack.start()
            server = f"{stack.url}/keys"
            after = granted(host, Purpose.GROUP_KEY, "scheduler", server)
            assert (after.key, after.generation) == (before.key, before.generation)
            with pytest.raises(AssertionError, match="401"):
                granted(lost, Purpose.ENROL, server=server)
        finally:
            stack.stop()


def test_admins_do_the_same_over_http(stack: Stack, tmp_path: Path) -> None:
    key_file(stack, tmp_path, "add", "scheduler.host1")
    with closing(Session(stack.url, login(stack))) as session:
        status, found = session.ask("GET", "/keys/v1/keys")
        assert (status, [party["name"] for party in found["keys"]]) == (200, ["scheduler.host1"])
        assert session.ask("DELETE", "/keys/v1/keys/scheduler.host1")[0] == 204
    assert stack.transom("keys", "list").stdout == ""
