# SPDX-License-Identifier: Apache-2.0
"""The token cache, over a Keystone that answers as it is told."""

import asyncio
import json
from datetime import UTC, datetime

import pytest

from transom.errors import Unauthorized, Unavailable
from transom.runtime.auth.tokens import TokenValidator, context_of

START_MS = 1_700_000_000_000


class Clock:
    def __init__(self) -> None:
        self.ms = START_MS

    def now_ms(self) -> int:
        return self.ms

    def monotonic_s(self) -> float:
        return self.ms / 1000


def document(user="u", expires_ms=START_MS + 3_600_000, **more) -> bytes:
    expires = datetime.fromtimestamp(expires_ms / 1000, UTC).isoformat().replace("+00:00", "Z")
    roles = [{"id": "1", "name": "Member"}, {"id": "2", "name": "reader"}]
    token = {"user": {"id": user, "name": "n", "domain": {"id": "d"}}, "roles": roles,
             "project": {"id": "p", "name": "pn", "domain": {"id": "pd"}}, **more,
             "expires_at": expires}  # fmt: skip
    return json.dumps({"token": token}).encode()


class Keystone:
    def __init__(self) -> None:
        self.known: dict[str, bytes | Exception] = {}
        self.ended: dict[str, bytes | Exception] = {}
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def token_document(self, token: str, *, allow_expired: bool = False) -> bytes | None:
        self.asked.append(f"{token}, ended" if allow_expired else token)
        await self.gate.wait()
        found = self.ended.get(token) if allow_expired else self.known.get(token)
        if isinstance(found, Exception):
            raise found
        return found


class Setting:
    def __init__(self, entries_max: int = 100, cache_s: int = 300) -> None:
        self.clock = Clock()
        self.keystone = Keystone()
        self.generation = 0
        self.tokens = TokenValidator(
            self.keystone, self.clock, lambda: self.generation, cache_s, entries_max
        )


async def settled() -> None:
    """Until everything that can run has run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_token_is_asked_for_once_and_known_for_five_minutes():
    at = Setting()
    at.keystone.known["t"] = document()
    assert at.tokens.cached("t") is None
    context = await at.tokens.validate("t")
    assert (context.user_id, context.project_id, context.project_domain_id) == ("u", "p", "pd")
    assert context.roles == {"member", "reader"}
    assert context.expires_ms == START_MS + 3_600_000
    at.clock.ms += 299_999
    assert at.tokens.cached("t") is context
    at.clock.ms += 1
    assert at.tokens.cached("t") is None
    await at.tokens.validate("t")
    assert at.keystone.asked == ["t", "t"]


async def test_a_token_is_not_believed_past_its_end():
    at = Setting()
    at.keystone.known["t"] = document(expires_ms=START_MS + 10_000)
    await at.tokens.validate("t")
    at.clock.ms += 9_999
    assert at.tokens.cached("t") is not None
    at.clock.ms += 1
    assert at.tokens.cached("t") is None
    with pytest.raises(Unauthorized):
        await at.tokens.validate("t")


async def test_what_is_no_token_is_remembered_for_five_seconds():
    at = Setting()
    for _ in range(3):
        with pytest.raises(Unauthorized):
            await at.tokens.validate("bad")
    assert at.tokens.cached("bad") is None
    assert at.keystone.asked == ["bad"]
    at.keystone.known["bad"] = document()
    at.clock.ms += 5_000
    assert await at.tokens.validate("bad")


async def test_tokens_made_up_crowd_out_no_valid_one():
    at = Setting(entries_max=3)
    for token in ("s", "t"):
        at.keystone.known[token] = document()
        await at.tokens.validate(token)
    for number in range(10):
        with pytest.raises(Unauthorized):
            await at.tokens.validate(f"bad{number}")
    assert at.tokens.cached("s")
    assert at.tokens.cached("t")


@pytest.mark.parametrize("token", ["", "x" * 9000, "caf\xe9"])
async def test_what_cannot_be_a_token_is_not_asked_for(token):
    at = Setting()
    with pytest.raises(Unauthorized):
        await at.tokens.validate(token)
    assert at.keystone.asked == []
    assert at.tokens.cached(token) is None


async def test_many_requests_with_one_token_ask_once():
    at = Setting()
    at.keystone.known["t"] = document()
    at.keystone.gate.clear()
    waiting = [asyncio.ensure_future(at.tokens.validate("t")) for _ in range(50)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    at.keystone.gate.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert len({id(context) for context in results[1:]}) == 1
    assert at.keystone.asked == ["t"]


async def test_a_revocation_makes_everything_be_asked_for_anew():
    at = Setting()
    at.keystone.known.update(t=document(), s=document())
    await at.tokens.validate("t")
    await at.tokens.validate("s")
    at.generation += 1
    del at.keystone.known["t"]
    assert at.tokens.cached("t") is None
    with pytest.raises(Unauthorized):
        await at.tokens.validate("t")
    assert await at.tokens.validate("s")
    assert at.tokens.cached("s")


async def test_an_asking_that_began_before_a_revocation_is_not_joined_nor_kept():
    at = Setting()
    at.keystone.known["t"] = document()
    at.keystone.gate.clear()
    before = asyncio.ensure_future(at.tokens.validate("t"))
    await settled()
    at.generation += 1
    after = asyncio.ensure_future(at.tokens.validate("t"))
    await settled()
    assert at.keystone.asked == ["t", "t"]
    at.keystone.gate.set()
    await asyncio.gather(before, after)
    at.generation += 1
    assert at.tokens.cached("t") is None


async def test_in_an_outage_known_tokens_go_on_and_others_are_unavailable():
    at = Setting()
    at.keystone.known["t"] = document()
    await at.tokens.validate("t")
    at.keystone.known = {"t": Unavailable(), "new": Unavailable()}
    assert at.tokens.cached("t") is not None
    for _ in range(2):
        with pytest.raises(Unavailable):
            await at.tokens.validate("new")
    at.clock.ms += 300_000
    with pytest.raises(Unavailable):
        await at.tokens.validate("t")
    at.keystone.known["t"] = document()
    assert await at.tokens.validate("t")


async def test_the_cache_is_bounded_and_forgets_what_was_not_used():
    at = Setting(entries_max=3)
    for name in "abc":
        at.keystone.known[name] = document(user=name)
        await at.tokens.validate(name)
    assert at.tokens.cached("a")
    at.keystone.known["d"] = document()
    await at.tokens.validate("d")
    assert [at.tokens.cached(name) is not None for name in "abcd"] == [True, False, True, True]


async def test_no_token_is_kept_in_memory():
    at = Setting()
    at.keystone.known["secret-token"] = document()
    await at.tokens.validate("secret-token")
    assert "secret-token" not in repr(vars(at.tokens))


async def test_a_stop_ends_what_is_being_asked():
    at = Setting()
    at.keystone.gate.clear()
    waiting = asyncio.ensure_future(at.tokens.validate("t"))
    await asyncio.sleep(0)
    await at.tokens.stop()
    with pytest.raises(Unavailable):
        await waiting


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"project": None}, ("", "", False)),
        ({"project": None, "domain": {"id": "dd"}}, ("", "dd", False)),
        ({"project": None, "system": {"all": True}}, ("", "", True)),
        ({"system": {}}, ("p", "", False)),
    ],
)
def test_scopes_are_told_apart(more, expected):
    context = context_of(document(**more))
    assert (context.project_id, context.domain_id, context.system) == expected


@pytest.mark.parametrize("answer", [b"", b"{}", b"<html>", b'{"token": {"user": {"id": "u"}}}',
                                    document().replace(b"2023", b"nope")])  # fmt: skip
def test_an_answer_that_is_no_token_document_is_an_outage(answer):
    with pytest.raises(Unavailable):
        context_of(answer)


async def test_who_waits_when_asking_is_given_up_is_told_to_try_again():
    at = Setting()
    at.keystone.known["cached"] = document()
    await at.tokens.validate("cached")
    at.keystone.gate.clear()
    waiting = asyncio.ensure_future(at.tokens.validate("waits"))
    await settled()
    unstarted = asyncio.ensure_future(at.tokens.validate("unstarted"))
    await asyncio.sleep(0)
    at.tokens.give_up()
    for refused in (waiting, unstarted, asyncio.ensure_future(at.tokens.validate("late"))):
        with pytest.raises(Unavailable):
            await refused
    assert (await at.tokens.validate("cached")).user_id == "u"
    assert "late" not in at.keystone.asked


async def test_a_caller_who_is_cancelled_meanwhile_stays_cancelled():
    at = Setting()
    at.keystone.gate.clear()
    waiting = asyncio.ensure_future(at.tokens.validate("waits"))
    await settled()
    waiting.cancel()
    at.tokens.give_up()
    with pytest.raises(asyncio.CancelledError):
        await waiting


def of_service(**more) -> bytes:
    return document(user="nova", **more).replace(b"Member", b"service")


async def test_a_service_with_a_token_of_its_own_acts_for_a_user_whose_token_has_ended():
    at = Setting()
    at.keystone.known["service"] = of_service()
    at.keystone.ended["t"] = document(expires_ms=START_MS - 1)
    for _ in range(3):
        context = await at.tokens.validate_for("service", "t")
        assert (context.user_id, context.roles) == ("u", {"member", "reader"})
    assert at.keystone.asked == ["service", "t", "t, ended"]
    assert at.tokens.cached("t") is None
    with pytest.raises(Unauthorized):
        await at.tokens.validate("t")
    at.generation += 1
    del at.keystone.ended["t"]
    with pytest.raises(Unauthorized):
        await at.tokens.validate_for("service", "t")


async def test_a_token_that_ended_is_believed_no_longer_than_any():
    at = Setting()
    at.keystone.known["service"] = of_service()
    at.keystone.ended["t"] = document(expires_ms=START_MS - 1)
    await at.tokens.validate_for("service", "t")
    at.clock.ms += 300_000
    at.keystone.ended.clear()
    with pytest.raises(Unauthorized):
        await at.tokens.validate_for("service", "t")


@pytest.mark.parametrize("service", [None, document(), of_service(expires_ms=START_MS - 1)])
async def test_what_is_no_service_admits_nobody_not_even_whose_token_is_valid(service):
    at = Setting()
    at.keystone.known.update(t=document(), service=service)
    at.keystone.ended["t"] = document()
    with pytest.raises(Unauthorized, match="X-Service-Token"):
        await at.tokens.validate_for("service", "t")
    assert "t, ended" not in at.keystone.asked


async def test_how_long_a_token_is_known_is_the_operators_choice():
    at = Setting(cache_s=0)
    at.keystone.known["t"] = document()
    for _ in range(2):
        await at.tokens.validate("t")
        assert at.tokens.cached("t") is None
    assert at.keystone.asked == ["t", "t"]
