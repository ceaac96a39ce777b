# SPDX-License-Identifier: Apache-2.0
"""Token validation over HTTP, against a small Keystone on a door of our own."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from transom.errors import Unauthorized, Unavailable
from transom.runtime.auth.keystone import Keystone, ServiceCredentials
from transom.runtime.auth.tokens import TokenValidator
from transom.runtime.clock import SystemClock
from transom.runtime.http.app import make_app
from transom.runtime.http.limits import HttpLimits
from transom.runtime.http.listen import bind
from transom.runtime.http.route import Answer, Mount, Route
from transom.runtime.secrets import Secret

from support.door import small_door
from support.http import Tokens, ask, serve


class SmallKeystone:
    """Issues service tokens for one password; knows the users' tokens that it was given."""

    def __init__(self) -> None:
        self.password = "right"
        self.users = {"good"}
        self.service_tokens: set[str] = set()
        self.logins = 0
        self.validations = 0
        self.lifetime_s = 3600.0
        self.status: int | None = None
        self.hang = False

    async def issue(self, call):
        self.logins += 1
        user = call.body["auth"]["identity"]["password"]["user"]
        if user["password"] != self.password:
            return Answer(401, {})
        token = f"service-{self.logins}"
        self.service_tokens.add(token)
        return Answer(201, self.document("transom"), {"x-subject-token": token})

    async def validate(self, call):
        self.validations += 1
        if self.hang:
            await asyncio.Event().wait()
        if self.status is not None:
            return Answer(self.status, {}, {"location": "http://127.0.0.1:9/elsewhere"})
        assert "nocatalog" in call.query
        if call.headers["x-auth-token"] not in self.service_tokens:
            return Answer(401, {})
        if call.headers["x-subject-token"] not in self.users:
            return Answer(404, {})
        return Answer(200, self.document("alice"))

    def document(self, user):
        expires = datetime.now(UTC) + timedelta(seconds=self.lifetime_s)
        return {
            "token": {
                "user": {"id": user, "name": user, "domain": {"id": "default"}},
                "project": {"id": "p1", "name": "p1", "domain": {"id": "default"}},
                "roles": [{"id": "1", "name": "member"}],
                "expires_at": expires.isoformat(),
            }
        }

    def app(self):
        routes = [
            Route("POST", "/v3/auth/tokens", self.issue, body=dict, public=True),
            Route("GET", "/v3/auth/tokens", self.validate, public=True),
        ]
        mount = Mount("/identity", routes)
        return make_app([mount], authenticate=Tokens({}), random=Random(1).randbytes)


@asynccontextmanager
async def validator(peer: SmallKeystone, suffix="/identity/v3/", password="right", deadline_s=5.0):
    async with serve(peer.app(), HttpLimits(drain_s=0.1)) as url:
        credentials = ServiceCredentials(url + suffix, "transom", Secret(password))
        clock = SystemClock()
        tokens = TokenValidator(Keystone(credentials, clock, deadline_s), clock, lambda: 0)
        await tokens.start()
        try:
            yield tokens
        finally:
            await tokens.stop()


@pytest.mark.parametrize("suffix", ["/identity", "/identity/", "/identity/v3", "/identity/v3/"])
async def test_a_token_is_validated_wherever_the_address_ends(suffix):
    peer = SmallKeystone()
    async with validator(peer, suffix) as tokens:
        assert (await tokens.validate("good")).user_id == "alice"
        with pytest.raises(Unauthorized):
            await tokens.validate("unknown")
    assert (peer.logins, peer.validations) == (1, 2)


async def test_a_door_admits_by_keystone_and_asks_it_once():
    peer = SmallKeystone()
    async with validator(peer) as tokens, serve(small_door(authenticate=tokens)) as url:
        replies = await asyncio.gather(
            *(ask(url, "GET", "/queue/v2/show/a", token="good") for _ in range(20))
        )
        refused = await ask(url, "GET", "/queue/v2/show/a", token="bad")
    assert {reply.status for reply in replies} == {200}
    assert {reply.json()["context"]["user_id"] for reply in replies} == {"alice"}
    assert refused.status == 401
    assert peer.validations == 2


async def test_a_service_token_that_is_taken_no_more_is_renewed():
    peer = SmallKeystone()
    async with validator(peer) as tokens:
        await tokens.validate("good")
        peer.service_tokens.clear()
        peer.users.update(f"t{number}" for number in range(10))
        await asyncio.gather(*(tokens.validate(f"t{number}") for number in range(10)))
    assert peer.logins == 2


async def test_a_service_token_is_renewed_before_its_end():
    peer = SmallKeystone()
    peer.lifetime_s = 0.4
    async with validator(peer) as tokens:
        await tokens.validate("good")
        async with asyncio.timeout(10):
            while peer.logins < 2:
                peer.users.add(name := f"t{peer.validations}")
                await tokens.validate(name)
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("status", [301, 400, 403, 500, 503])
async def test_any_other_answer_is_an_outage(status):
    peer = SmallKeystone()
    async with validator(peer) as tokens:
        peer.status = status
        with pytest.raises(Unavailable):
            await tokens.validate("good")
        peer.status = None
        assert await tokens.validate("good")


async def test_a_wrong_password_is_an_outage_and_is_not_tried_at_every_request(caplog):
    peer = SmallKeystone()
    async with validator(peer, password="wrong-secret") as tokens:
        for _ in range(10):
            with pytest.raises(Unavailable):
                await tokens.validate("good")
    assert peer.logins == 1
    assert "wrong-secret" not in caplog.text


async def test_a_keystone_that_hangs_costs_no_more_than_the_deadline():
    peer = SmallKeystone()
    peer.hang = True
    async with (
        validator(peer, deadline_s=0.3) as tokens,
        serve(small_door(authenticate=tokens)) as url,
    ):
        async with asyncio.timeout(5):
            reply = await ask(url, "GET", "/queue/v2/show/a", token="good")
    assert reply.status == 503
    assert int(reply.headers["retry-after"]) >= 1


async def test_a_keystone_that_is_not_there_is_an_outage():
    free = bind("127.0.0.1", 0)
    address = f"http://127.0.0.1:{free.getsockname()[1]}"
    free.close()
    clock = SystemClock()
    credentials = ServiceCredentials(address, "transom", Secret("x"))
    tokens = TokenValidator(Keystone(credentials, clock, 1.0), clock, lambda: 0)
    await tokens.start()
    with pytest.raises(Unavailable):
        await tokens.validate("good")
    await tokens.stop()
    assert "'x'" not in repr(credentials)
