"""Pools and flavors over HTTP, and queues that are in several databases."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from transom.errors import StorageUnavailable
from transom.queue.model import Place
from transom.queue.store import many, placing
from transom.runtime.auth.context import Context

from support.http import Reply
from support.postgres import Server
from support.queues import PROJECTS, Door, open_door

pytestmark = pytest.mark.usefixtures("engine")
ADMIN = {"token": "token-admin"}
FILE = {"uri": "sqlite:extra", "weight": 100}


@pytest.fixture(autouse=True)
def admin(monkeypatch: pytest.MonkeyPatch) -> None:
    context = Context("", user_id="root", project_id="a", roles=frozenset({"admin"}))
    monkeypatch.setitem(PROJECTS, "token-admin", context)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with open_door(tmp_path, shard_weight=0) as opened:
        yield opened


async def ask(door: Door, method: str, path: str, body: Any = None) -> Reply:
    return await door.ask(method, path, body, **ADMIN)  # type: ignore[arg-type]


async def placed(door: Door, name: str) -> str | None:
    async def verb(tx: Any) -> str | None:
        found = await placing.find(tx, Place("a", name))
        return None if found is None else found.store

    return await door.service.database.read(verb)


async def post(door: Door, name: str, body: Any = 1) -> Reply:
    return await door.ask("POST", f"/v2/queues/{name}/messages", {"messages": [{"body": body}]})


async def bodies(door: Door, name: str) -> list[Any]:
    reply = await door.ask("GET", f"/v2/queues/{name}/messages?echo=true")
    return [message["body"] for message in reply.json()["messages"]]


async def test_a_pool_is_added_shown_changed_and_removed(door: Door) -> None:
    made = await ask(door, "PUT", "/v2/pools/extra", FILE | {"options": {"why": "room"}})
    assert (made.status, made.headers["location"]) == (201, "/v2/pools/extra")
    shown = {
        "href": "/v2/pools/extra", "name": "extra", "uri": "sqlite:extra", "weight": 100,
        "flavor": None,
    }  # fmt: skip
    assert (await ask(door, "GET", "/v2/pools/extra")).json() == shown | {
        "options": {"why": "room"}
    }
    listed = (await ask(door, "GET", "/v2/pools")).json()
    assert listed["pools"] == [shown]
    assert listed["links"][0]["href"] == "/v2/pools?marker=extra"
    assert (await ask(door, "PATCH", "/v2/pools/extra", {"weight": 7})).json()["weight"] == 7
    assert (await ask(door, "PATCH", "/v2/pools/extra", {})).status == 400
    assert (await ask(door, "PATCH", "/v2/pools/none", {"weight": 7})).status == 404
    assert (await ask(door, "PUT", "/v2/pools/extra", FILE)).status == 409
    assert (await ask(door, "DELETE", "/v2/pools/extra")).status == 204
    assert (await ask(door, "DELETE", "/v2/pools/extra")).status == 204
    assert (await ask(door, "GET", "/v2/pools/extra")).status == 404
    assert (await ask(door, "PUT", "/v2/pools/extra", FILE)).status == 201


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"uri": "mongodb://127.0.0.1:27017", "weight": 1}, "sqlite:NAME"),
        ({"uri": "redis://127.0.0.1", "weight": 1}, "postgresql://"),
        ({"uri": "sqlite:../queue", "weight": 1}, "sqlite:NAME"),
        ({"uri": "sqlite:/etc/passwd", "weight": 1}, "sqlite:NAME"),
        ({"uri": "postgresql://u:secret@127.0.0.1:1/x", "weight": 1}, "cannot be reached"),
        ({"uri": "postgresql://u:secret@127.0.0.1:99999/x", "weight": 1}, "no address"),
        ({"uri": "sqlite:x", "weight": -1}, "weight"),
        ({"uri": "sqlite:x", "weight": 1 << 32}, "weight"),
        ({"uri": "sqlite:x"}, "weight"),
        ({"weight": 1}, "uri"),
    ],
)
async def test_what_cannot_be_a_pool_is_refused(door: Door, body: Any, said: str) -> None:
    reply = await ask(door, "PUT", "/v2/pools/bad", body)
    assert reply.status == 400
    assert said in reply.json()["description"]
    assert "secret" not in str(reply.json())
    assert (await ask(door, "GET", "/v2/pools/bad")).status == 404


async def test_only_an_administrator_sees_and_changes_pools(door: Door) -> None:
    for method, path, body in (
        ("GET", "/v2/pools", None),
        ("GET", "/v2/pools/extra", None),
        ("PUT", "/v2/pools/extra", FILE),
        ("PATCH", "/v2/pools/extra", {"weight": 1}),
        ("DELETE", "/v2/pools/extra", None),
        ("PUT", "/v2/flavors/fast", {"pool_list": ["extra"]}),
        ("PATCH", "/v2/flavors/fast", {"pool_list": ["extra"]}),
        ("DELETE", "/v2/flavors/fast", None),
    ):
        assert (await door.ask(method, path, body)).status == 403, (method, path)
    assert (await door.ask("GET", "/v2/flavors")).status == 200


async def test_new_queues_go_to_a_pool_and_old_ones_stay(door: Door) -> None:
    assert (await ask(door, "PATCH", "/v2/pools/x", {"weight": 1})).status == 404
    await post(door, "old", "first")
    assert (await ask(door, "PUT", "/v2/pools/extra", FILE)).status == 201
    await post(door, "new", "second")
    await post(door, "old", "third")
    assert await placed(door, "old") == ""
    assert await placed(door, "new") == "pool-extra"
    assert await bodies(door, "old") == ["first", "third"]
    assert await bodies(door, "new") == ["second"]
    listed = await door.ask("GET", "/v2/queues?with_count=true")
    assert [queue["name"] for queue in listed.json()["queues"]] == ["new", "old"]
    assert listed.json()["count"] == 2


async def test_a_pool_with_queues_stays_until_they_are_gone(door: Door) -> None:
    await ask(door, "PUT", "/v2/pools/extra", FILE)
    await post(door, "q")
    refused = await ask(door, "DELETE", "/v2/pools/extra")
    assert refused.status == 403
    assert "weight 0" in refused.json()["description"]
    assert await bodies(door, "q") == [1]
    await door.ask("DELETE", "/v2/queues/q")
    assert (await ask(door, "DELETE", "/v2/pools/extra")).status == 204


async def test_a_pool_stays_while_messages_are_on_their_way_from_it(door: Door) -> None:
    await post(door, "dead", "first")
    await ask(door, "PUT", "/v2/pools/extra", FILE)
    await door.ask("PUT", "/v2/queues/jobs", {"_dead_letter_queue": "dead"})
    await post(door, "jobs", "second")
    assert await placed(door, "jobs") == "pool-extra"
    claim = await door.ask("POST", "/v2/queues/jobs/claims", {"ttl": 60, "grace": 60})
    rejected = await door.ask("POST", claim.headers["location"] + "/reject", {})
    assert rejected.status == 200
    await door.ask("DELETE", "/v2/queues/jobs")
    refused = await ask(door, "DELETE", "/v2/pools/extra")
    assert refused.status == 403
    assert "on their way" in refused.json()["description"]
    await door.service.app.letters.deliver()
    assert (await ask(door, "DELETE", "/v2/pools/extra")).status == 204
    assert await bodies(door, "dead") == ["first", "second"]


async def test_two_pools_cannot_be_in_one_file(door: Door) -> None:
    await ask(door, "PUT", "/v2/pools/extra", FILE)
    refused = await ask(door, "PUT", "/v2/pools/second", FILE)
    assert refused.status == 409
    assert "'extra'" in refused.json()["description"]
    await ask(door, "PUT", "/v2/pools/other", {"uri": "sqlite:other", "weight": 0})
    assert (await ask(door, "PATCH", "/v2/pools/other", {"uri": "sqlite:extra"})).status == 409
    assert (await post(door, "q")).status == 201
    assert await placed(door, "q") == "pool-extra"


async def test_a_queue_is_made_in_a_pool_of_its_flavor(door: Door) -> None:
    await ask(door, "PUT", "/v2/pools/extra", FILE)
    await ask(door, "PUT", "/v2/pools/other", {"uri": "sqlite:other", "weight": 1})
    assert (await ask(door, "PUT", "/v2/flavors/fast", {"pool_list": ["other"]})).status == 201
    shown = (await ask(door, "GET", "/v2/flavors/fast")).json()
    assert shown["pool_list"] == ["other"]
    assert "FIFO" in shown["capabilities"]
    assert (await door.ask("PUT", "/v2/queues/q", {"_flavor": "fast"})).status == 201
    assert await placed(door, "q") == "pool-other"
    assert (await door.ask("GET", "/v2/queues/q")).json()["_flavor"] == "fast"
    await post(door, "plain")
    assert await placed(door, "plain") == "pool-extra"
    unknown = await door.ask("PUT", "/v2/queues/q2", {"_flavor": "slow"})
    assert unknown.status == 400
    assert (await ask(door, "DELETE", "/v2/pools/other")).status == 403
    listed = (await ask(door, "GET", "/v2/flavors?detailed=true")).json()
    assert [flavor["name"] for flavor in listed["flavors"]] == ["fast"]
    assert (await ask(door, "PUT", "/v2/flavors/none", {"pool_list": ["gone"]})).status == 400
    assert (await ask(door, "PUT", "/v2/flavors/none", {"pool_list": []})).status == 400
    assert (await ask(door, "PUT", "/v2/flavors/two", {"pool_list": ["other"]})).status == 409
    changed = await ask(door, "PATCH", "/v2/flavors/fast", {"pool_list": ["extra"]})
    assert changed.json()["pool_list"] == ["extra"]
    assert (await ask(door, "PATCH", "/v2/flavors/no", {"pool_list": ["extra"]})).status == 404
    assert (await ask(door, "DELETE", "/v2/flavors/fast")).status == 204
    assert (await ask(door, "GET", "/v2/flavors/fast")).status == 404
    assert await bodies(door, "q") == []


async def test_a_queue_that_was_deleted_is_made_anew_elsewhere_and_numbers_go_on(
    door: Door,
) -> None:
    await ask(door, "PUT", "/v2/pools/extra", FILE)
    first = (await post(door, "q")).json()["resources"][0].rpartition("/")[2]
    await ask(door, "PUT", "/v2/pools/other", {"uri": "sqlite:other", "weight": 100})
    await ask(door, "PATCH", "/v2/pools/extra", {"weight": 0})
    await door.ask("DELETE", "/v2/queues/q")
    assert await bodies(door, "q") == []
    for _ in range(200):
        if await placed(door, "q") is None:
            break
        for relay in door.service.relays.all():
            await relay.quiet()
    second = (await post(door, "q", 2)).json()["resources"][0].rpartition("/")[2]
    assert await placed(door, "q") == "pool-other"
    assert second[:18] > first[:18]
    assert await bodies(door, "q") == [2]


async def test_a_pool_that_is_away_leaves_other_queues_alone(door: Door) -> None:
    await ask(door, "PUT", "/v2/pools/extra", FILE)
    await post(door, "there")
    await ask(door, "PUT", "/v2/pools/other", {"uri": "sqlite:other", "weight": 100})
    await ask(door, "PATCH", "/v2/pools/extra", {"weight": 0})
    await post(door, "here")
    for relay in door.service.relays.all():
        await relay.quiet()
    await door.service.stores.lose("pool-extra", "its disk was taken out")
    away = await door.ask("GET", "/v2/queues/there/messages")
    assert away.status == 503
    assert int(away.headers["retry-after"]) > 0
    assert (await post(door, "there")).status == 503
    assert (await post(door, "here")).status == 201
    assert (await post(door, "fresh")).status == 201
    names = [one["name"] for one in (await door.ask("GET", "/v2/queues")).json()["queues"]]
    assert names == ["fresh", "here", "there"]
    assert "pool-extra" in door.service.stores.warning()


async def three_stores(door: Door) -> None:
    """The queues home, one and two are in stores of their own, with a message each: their names."""
    await post(door, "home", "home")
    for name in ("one", "two"):
        made = await ask(door, "PUT", f"/v2/pools/{name}", {"uri": f"sqlite:{name}", "weight": 1})
        assert made.status == 201
        await ask(door, "PUT", f"/v2/flavors/{name}", {"pool_list": [name]})
        assert (await door.ask("PUT", f"/v2/queues/{name}", {"_flavor": name})).status == 201
        await post(door, name, name)


async def take(door: Door, *queues: str, key: str = "") -> Reply:
    headers = {"idempotency-key": key} if key else {}
    asked = {"queues": list(queues), "ttl": 60}
    return await door.ask("POST", "/v2/claims", asked, headers=headers)


def taken(reply: Reply) -> list[Any]:
    assert reply.status == 201, reply.body
    return [message["body"] for message in reply.json()["messages"]]


@pytest.fixture
async def fallen(door: Door, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Stores whose writes fail while their names are in it, as they do before that is known."""
    await three_stores(door)
    names: set[str] = set()
    for store in door.service.stores.every():
        write = store.writer.write

        async def fails(verb: Any, name: str = store.name, write: Any = write) -> Any:
            if name in names:
                raise StorageUnavailable("The disk is gone.")
            return await write(verb)

        monkeypatch.setattr(store.writer, "write", fails)
    return names


@pytest.mark.parametrize("known", [True, False])
async def test_a_claim_over_stores_gives_what_it_took_though_one_is_away(
    door: Door, fallen: set[str], known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if known:
        monkeypatch.setattr(many, "AGAIN_S", 3600)
        await door.service.stores.lose("pool-one", "its disk was taken out")
    else:
        fallen.add("pool-one")
    reply = await take(door, "home", "one", "two")
    assert taken(reply) == ["home", "two"]
    for message in reply.json()["messages"]:
        assert (await door.ask("DELETE", message["href"])).status == 204
    assert (await take(door, "home", "one", "two")).status == 503, "it was not asked"
    assert (await take(door, "home", "two")).status == 204
    if not known:
        fallen.clear()
        assert taken(await take(door, "one")) == ["one"]


async def test_a_claim_over_stores_that_is_repeated_by_its_key_goes_on_where_it_failed(
    door: Door, fallen: set[str]
) -> None:
    fallen.add("pool-one")
    assert taken(await take(door, "home", "one", "two", key="k")) == ["home"]
    fallen.clear()
    again = await take(door, "home", "one", "two", key="k")
    assert taken(again) == ["home", "one", "two"]
    shown = await door.ask("GET", again.headers["location"])
    assert len(shown.json()["messages"]) == 3, "all of it is one claim"
    for message in again.json()["messages"]:
        assert (await door.ask("DELETE", message["href"])).status == 204


async def test_a_password_is_never_shown(door: Door, server: Server) -> None:
    uri = server.url.replace("postgres@", "postgres:hush@")
    made = await ask(door, "PUT", "/v2/pools/pg", {"uri": uri, "weight": 1})
    assert made.status == 201
    for path in ("/v2/pools/pg", "/v2/pools?detailed=true"):
        shown = await ask(door, "GET", path)
        assert "hush" not in str(shown.json())
        assert "postgresql://postgres@" in str(shown.json())
    rows = await door.service.database.read(lambda tx: tx.fetch("select * from pool"))
    assert "hush" not in str(rows)
    assert (await ask(door, "PATCH", "/v2/pools/pg", {"uri": uri})).status == 200
    await ask(door, "DELETE", "/v2/pools/pg")


async def test_pools_are_found_again_after_a_start(tmp_path: Path) -> None:
    async with open_door(tmp_path, shard_weight=0) as door:
        await ask(door, "PUT", "/v2/pools/extra", FILE)
        await post(door, "q")
    async with open_door(tmp_path, shard_weight=0) as door:
        assert await bodies(door, "q") == [1]
        await post(door, "q", 2)
        assert await bodies(door, "q") == [1, 2]
