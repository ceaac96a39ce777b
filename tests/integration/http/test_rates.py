"""Rate limits at the doors: per project, and per address where no valid token is shown."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from transom.runtime.auth.context import Context
from transom.runtime.http.cycle import Cycle
from transom.runtime.http.limits import HttpLimits

from support.door import ALICE, TOKEN, small_door
from support.http import Tokens, ask, serve
from support.queues import MovedClock

BOB = Context("", user_id="u-bob", project_id="p-two", roles=frozenset(["member"]))
NOVA = Context("", user_id="u-nova", project_id="p-nova", roles=frozenset(["service"]))
ELSEWHERE = ("203.0.113.7", 40_000)


@asynccontextmanager
async def limited(
    clock: MovedClock, share: float = 1.0, client: tuple[str, int] | None = None, **limits: Any
) -> AsyncIterator[str]:
    app = small_door(
        limits=HttpLimits(**limits),
        authenticate=Tokens({TOKEN: ALICE, "bob": BOB, "nova": NOVA}),
        clock=clock,
        share=share,
    )

    def from_there(request: Cycle) -> Any:
        request.host = client[0] if client else request.host
        return app(request)

    async with serve(from_there) as url:
        yield url


async def statuses(url: str, times: int, path: str, **options: Any) -> list[int]:
    return [(await ask(url, "GET", path, **options)).status for _ in range(times)]


async def test_a_project_has_its_burst_and_then_its_rate():
    clock = MovedClock()
    async with limited(clock, project_requests_per_s=2.0, project_burst=5) as url:
        assert await statuses(url, 7, "/queue/v2/show/a", token=TOKEN) == [200] * 5 + [429] * 2
        refused = await ask(url, "GET", "/queue/v2/show/a", token=TOKEN)
        assert refused.headers["retry-after"] == "1"
        assert "Your project" in refused.json()["description"]
        assert await statuses(url, 5, "/queue/v2/show/a", token="bob") == [200] * 5
        clock.move_s(1)
        assert await statuses(url, 3, "/queue/v2/show/a", token=TOKEN) == [200, 200, 429]
        shown = (await ask(url, "GET", "/metrics")).body.decode()
    assert 'transom_http_rate_limited_total{limit="project"} 4.0' in shown
    assert 'transom_http_rate_buckets{limit="project"} 2.0' in shown


async def test_each_of_several_processes_gives_away_its_share():
    clock = MovedClock()
    async with limited(clock, 0.25, project_requests_per_s=1.0, project_burst=8) as url:
        assert await statuses(url, 3, "/queue/v2/show/a", token=TOKEN) == [200, 200, 429]
        refused = await ask(url, "GET", "/queue/v2/show/a", token=TOKEN)
        assert refused.headers["retry-after"] == "4"


@pytest.mark.parametrize("token", [None, "unknown"])
async def test_an_address_without_a_valid_token_is_limited(token: str | None):
    clock = MovedClock()
    options: Any = {"address_requests_per_s": 1.0, "address_burst": 3, "client": ELSEWHERE}
    async with limited(clock, **options) as url:
        assert await statuses(url, 4, "/queue/v2/show/a", token=token) == [401] * 3 + [429]
        assert await statuses(url, 1, "/queue/v2/open") == [429]
        assert await statuses(url, 9, "/queue/v2/show/a", token=TOKEN) == [200] * 9
        assert await statuses(url, 9, "/healthz") == [200] * 9
        clock.move_s(1)
        assert await statuses(url, 2, "/queue/v2/open") == [200, 429]


async def test_a_service_token_that_is_none_is_limited_like_a_user_token_that_is_none():
    """Anybody has a valid token to show as a service's."""
    clock = MovedClock()
    options: Any = {"address_requests_per_s": 1.0, "address_burst": 3, "client": ELSEWHERE}
    async with limited(clock, **options) as url:
        path, made_up = "/queue/v2/show/a", "made-up"
        own = {"x-service-token": TOKEN}
        assert await statuses(url, 5, path, token=made_up, headers=own) == [401] * 3 + [429] * 2
        services = {"x-service-token": "nova"}
        assert await statuses(url, 5, path, token=made_up, headers=services) == [401] * 5


async def test_loopback_and_default_options_have_no_limit():
    async with limited(MovedClock(), address_requests_per_s=1.0, address_burst=1) as url:
        assert await statuses(url, 5, "/queue/v2/open") == [200] * 5
    async with limited(MovedClock(), client=ELSEWHERE) as url:
        assert await statuses(url, 200, "/queue/v2/open") == [200] * 200
