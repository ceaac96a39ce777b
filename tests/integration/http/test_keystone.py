# SPDX-License-Identifier: Apache-2.0
"""Token validation over HTTP, against a small Keystone on a door of our own."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from transom.errors import ConfigError, Unauthorized, Unavailable
from transom.runtime.auth.keystone import Keystone, ServiceCredentials
from transom.runtime.auth.tokens import TokenValidator
from transom.runtime.auth.watch import AWAY, NO_ROLE, KeystoneWatch
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
        self.body: object = {}
        self.headers = {"location": "http://127.0.0.1:9/elsewhere"}
        self.hang = False
        self.ended: set[str] = set()
        self.role = "service"

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
            return Answer(self.status, self.body, self.headers)
        assert "nocatalog" in call.query
        if call.headers["x-auth-token"] not in self.service_tokens:
            return Answer(401, {})
        subject = call.headers["x-subject-token"]
        if subject in self.service_tokens:
            return Answer(200, self.document("transom"))
        if subject in self.ended and call.query.get("allow_expired") == "1":
            return Answer(200, self.document("alice", ends_in_s=-60))
        if subject not in self.users:
            return Answer(404, {"error": {"code": 404, "message": "", "title": "Not Found"}})
        return Answer(200, self.document("alice"))

    def document(self, user, ends_in_s=None):
        expires = datetime.now(UTC) + timedelta(seconds=ends_in_s or self.lifetime_s)
        role = self.role if user == "transom" else "member"
        return {
            "token": {
                "user": {"id": user, "name": user, "domain": {"id": "default"}},
                "project": {"id": "p1", "name": "p1", "domain": {"id": "default"}},
                "roles": [{"id": "1", "name": role}],
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


NOT_KEYSTONES = b"<html>404 Not Found</html>"


@pytest.mark.parametrize(
    ("status", "body"),
    [(301, {}), (307, {}), (400, {}), (403, {}), (429, {}), (500, {}), (503, {}), (404, {}),
     (404, NOT_KEYSTONES), (200, {}), (200, NOT_KEYSTONES), (200, b"x" * (1 << 21))],
)  # fmt: skip
async def test_any_other_answer_is_an_outage(status, body):
    peer = SmallKeystone()
    async with validator(peer) as tokens:
        peer.status, peer.body = status, body
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


async def test_who_is_told_when_to_come_back_passes_it_on():
    peer = SmallKeystone()
    peer.status, peer.headers = 429, {"retry-after": "7"}
    async with validator(peer) as tokens, serve(small_door(authenticate=tokens)) as url:
        reply = await ask(url, "GET", "/queue/v2/show/a", token="good")
    assert (reply.status, reply.headers["retry-after"]) == (503, "7")


async def test_a_door_admits_for_a_service_whom_it_would_no_longer_admit_alone():
    peer = SmallKeystone()
    peer.ended.add("old")
    async with validator(peer) as tokens, serve(small_door(authenticate=tokens)) as url:
        await tokens.validate("good")
        service = next(iter(peer.service_tokens))

        async def status(token, **headers):
            path = "/queue/v2/show/a"
            return (await ask(url, "GET", path, headers=headers, token=token)).status

        assert await status("old") == 401
        assert await status("old", **{"x-service-token": service}) == 200
        assert await status("old", **{"x-service-token": "good"}) == 401
        assert await status("good", **{"x-service-token": service}) == 200
        assert await status("good", **{"x-service-token": "unknown"}) == 401
        assert await status("good", **{"x-service-token": ""}) == 200  # as if it were not there
        assert await status("old", **{"x-service-token": ""}) == 401
        assert await status("unknown", **{"x-service-token": service}) == 401
        assert await status("old") == 401


@asynccontextmanager
async def watched(peer: SmallKeystone, **options):
    async with serve(peer.app(), HttpLimits(drain_s=0.1)) as url:
        clock = SystemClock()
        keystone = Keystone(
            ServiceCredentials(f"{url}/identity", "transom", Secret("right")), clock, 0.3
        )
        watch = KeystoneWatch(keystone, clock, look_s=0.02)
        await keystone.start()
        await watch.start()
        try:
            yield watch
        finally:
            await watch.stop()
            await keystone.stop()


async def until(probe):
    async with asyncio.timeout(10):
        while not probe():
            await asyncio.sleep(0.01)


async def test_an_outage_is_seen_and_its_end_too_while_nobody_asks(caplog):
    peer = SmallKeystone()
    async with watched(peer) as watch:
        await until(lambda: peer.validations > 1)
        assert watch.warning() == ""
        peer.status, peer.headers = 302, {"location": "https://elsewhere/v3"}
        await until(watch.warning)
        seen = peer.validations
        await until(lambda: peer.validations > seen + 3)
        assert watch.warning() == AWAY
        peer.status = None
        peer.service_tokens.clear()
        await until(lambda: not watch.warning())
        peer.hang = True
        await until(watch.warning)
    told = [record for record in caplog.records if record.name.endswith("watch")]
    assert [record.message for record in told[:2]] == [
        "keystone cannot be used",
        "keystone can be used again",
    ]
    assert "https://elsewhere/v3" in told[0].why
    assert len(told) <= 3


async def test_a_service_user_without_the_role_is_told_of():
    peer = SmallKeystone()
    peer.role = "member"
    async with watched(peer) as watch:
        await until(watch.warning)
        assert watch.warning() == NO_ROLE
    assert peer.validations


async def test_readiness_warns_of_what_is_wrong_elsewhere_and_stays():
    told = {"keystone": ""}
    app = make_app(
        [],
        authenticate=Tokens({}),
        random=Random(1).randbytes,
        checks={"queue": lambda: True},
        warnings={"keystone": lambda: told["keystone"]},
    )
    async with serve(app) as url:
        well = await ask(url, "GET", "/readyz")
        told["keystone"] = AWAY
        ill = await ask(url, "GET", "/readyz")
    ready = {"status": "ready", "checks": {"queue": True}}
    assert (well.status, well.json()) == (200, ready)
    assert (ill.status, ill.json()) == (200, {**ready, "warnings": {"keystone": AWAY}})


async def test_a_file_without_certificates_is_told_at_the_start(tmp_path):
    (tmp_path / "ca.pem").write_text("nothing")
    for name, why in (("ca.pem", "no certificates"), ("absent", "No such file")):
        credentials = ServiceCredentials(
            "https://127.0.0.1:9", "transom", Secret("x"), ca_file=str(tmp_path / name)
        )
        with pytest.raises(ConfigError, match=why):
            await Keystone(credentials, SystemClock()).start()
