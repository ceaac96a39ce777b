"""Queues over HTTP: each status of the reference, and what lies behind it."""

import asyncio
import re
from typing import Any

import pytest

from transom.queue.logic.selection import QueueFilter

from support.queues import OTHER_CLIENT, PROJECTS, Door

pytestmark = pytest.mark.usefixtures("engine")

PATCH = {"content-type": "application/openstack-messaging-v2.0-json-patch"}
DEFAULTS = {
    "_max_messages_post_size": 262144,
    "_default_message_ttl": 3600,
    "_default_message_delay": 0,
    "_dead_letter_queue": None,
    "_dead_letter_queue_messages_ttl": None,
    "_max_claim_count": None,
    "_enable_encrypt_messages": False,
}


def change(op: str, key: str, value: Any = None) -> list[dict[str, Any]]:
    return [{"op": op, "path": f"/metadata/{key}", "value": value}]


async def test_a_queue_is_made_once_and_keeps_its_first_metadata(door: Door) -> None:
    made = await door.ask("PUT", "/v2/queues/q", {"colour": "red"})
    assert (made.status, made.headers["location"]) == (201, "/v2/queues/q")
    again = await door.ask("PUT", "/v2/queues/q", {"colour": "blue"})
    assert (again.status, again.headers["location"]) == (204, "/v2/queues/q")
    shown = await door.ask("GET", "/v2/queues/q")
    assert shown.json() == DEFAULTS | {"colour": "red"}


async def test_a_queue_that_is_not_there_shows_defaults_and_does_not_exist(door: Door) -> None:
    shown = await door.ask("GET", "/v2/queues/none")
    assert (shown.status, shown.json()) == (200, DEFAULTS)
    assert (await door.ask("HEAD", "/v2/queues/none")).status == 404
    await door.ask("PUT", "/v2/queues/none")
    assert (await door.ask("HEAD", "/v2/queues/none")).status == 204


@pytest.mark.parametrize(
    "metadata",
    [
        {"_default_message_ttl": 59},
        {"_default_message_ttl": 1_209_601},
        {"_default_message_ttl": True},
        {"_default_message_ttl": "60"},
        {"_default_message_delay": -1},
        {"_default_message_delay": 901},
        {"_max_messages_post_size": 0},
        {"_max_messages_post_size": 262_145},
        {"_max_claim_count": 0},
        {"_dead_letter_queue": "q"},
        {"_dead_letter_queue": "no spaces"},
        {"_dead_letter_queue": 7},
        {"_dead_letter_queue_messages_ttl": 59},
        {"_enable_encrypt_messages": 1},
        {"_flavor": "gold"},
        {"_retry_policy": 7},
        {"big": "x" * 65_536},
        {"wide": 2**63},
    ],
)
async def test_metadata_that_cannot_be_honoured_are_refused(
    door: Door, metadata: dict[str, Any]
) -> None:
    refused = await door.ask("PUT", "/v2/queues/q", metadata)
    assert refused.status == 400
    assert set(refused.json()) == {"title", "description"}
    assert (await door.ask("HEAD", "/v2/queues/q")).status == 404


@pytest.mark.parametrize("raw", [b"[]", b"3", b"{", b'"text"'])
async def test_metadata_are_an_object(door: Door, raw: bytes) -> None:
    assert (await door.ask("PUT", "/v2/queues/q", raw=raw)).status == 400


@pytest.mark.parametrize("name", ["a" * 65, "a%20b", "a%2Fb", "%C3%A9", "a%0A"])
async def test_a_name_of_other_characters_is_refused(door: Door, name: str) -> None:
    refused = await door.ask("PUT", f"/v2/queues/{name}")
    assert (refused.status, refused.json()["title"]) == (400, "Invalid queue identification")


@pytest.mark.parametrize("name", ["a" * 64, "A.b_c-1"])
async def test_a_name_of_the_right_characters_is_taken(door: Door, name: str) -> None:
    assert (await door.ask("PUT", f"/v2/queues/{name}")).status == 201


async def test_a_patch_adds_replaces_removes_and_answers_all(door: Door) -> None:
    await door.ask("PUT", "/v2/queues/q", {"a": 1, "b/c~": 2})
    changes = [
        *change("add", "n", {"deep": [1]}),
        *change("replace", "a", 5),
        *change("remove", "b~1c~0"),
        *change("replace", "_default_message_ttl", 77),
    ]
    patched = await door.ask("PATCH", "/v2/queues/q", changes, headers=PATCH)
    assert (patched.status, patched.json()) == (
        200,
        DEFAULTS | {"a": 5, "n": {"deep": [1]}, "_default_message_ttl": 77},
    )
    reset = change("remove", "_default_message_ttl") + change("remove", "_max_claim_count")
    assert (await door.ask("PATCH", "/v2/queues/q", reset, headers=PATCH)).status == 200
    shown = (await door.ask("GET", "/v2/queues/q")).json()
    assert shown["_default_message_ttl"] == 3600


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (change("replace", "none", 1), 409),
        (change("remove", "none"), 409),
        (change("add", "x/y", 1), 400),
        (change("test", "a", 1), 400),
        ([{"op": "add", "path": "/other/a", "value": 1}], 400),
        ([{"op": "add", "path": "metadata/a", "value": 1}], 400),
        ([{"op": "add", "path": "/metadata/a"}], 400),
        ([{"op": "add", "path": "/metadata/a~2", "value": 1}], 400),
        ([{"op": "add", "path": "/metadata/", "value": 1}], 400),
        (change("add", "_default_message_ttl", 1), 400),
        ({"op": "add"}, 400),
        ([3], 400),
        ([], 400),
    ],
)
async def test_a_patch_that_cannot_be_made_changes_nothing(
    door: Door, body: Any, status: int
) -> None:
    await door.ask("PUT", "/v2/queues/q", {"a": 1})
    if isinstance(body, list) and status == 409:
        body = change("replace", "a", 2) + body
    assert (await door.ask("PATCH", "/v2/queues/q", body, headers=PATCH)).status == status
    assert (await door.ask("GET", "/v2/queues/q")).json() == DEFAULTS | {"a": 1}


async def test_a_patch_needs_its_type_a_body_and_a_queue(door: Door) -> None:
    body = change("add", "a", 1)
    assert (await door.ask("PATCH", "/v2/queues/q", body, headers=PATCH)).status == 404
    assert (await door.ask("PATCH", "/v2/queues/q", body)).status == 415
    assert (await door.ask("PATCH", "/v2/queues/q", headers=PATCH)).status == 400


async def test_deleting_takes_the_messages_and_numbers_go_on(door: Door) -> None:
    assert (await door.ask("DELETE", "/v2/queues/q")).status == 204
    post = {"messages": [{"body": 1}]}
    first = (await door.ask("POST", "/v2/queues/q/messages", post)).json()["resources"][0]
    assert (await door.ask("DELETE", "/v2/queues/q")).status == 204
    await door.ask("PUT", "/v2/queues/q")
    assert (await door.ask("GET", first)).status == 404
    second = (await door.ask("POST", "/v2/queues/q/messages", post)).json()["resources"][0]
    assert second > first
    marker = first.rpartition("/")[2]
    after = await door.ask("GET", f"/v2/queues/q/messages?echo=true&marker={marker}")
    assert [message["href"] for message in after.json()["messages"]] == [second]


async def test_queues_are_listed_in_pages_by_name(door: Door) -> None:
    empty = await door.ask("GET", "/v2/queues")
    assert (empty.status, empty.json()) == (200, {"queues": [], "links": []})
    names = sorted(f"q{number}" for number in range(25))
    for name in reversed(names):
        await door.ask("PUT", f"/v2/queues/{name}", {"n": int(name[1:]), "odd": name[1:]})
    seen, path = [], "/v2/queues?limit=7&detailed=true"
    while True:
        page = (await door.ask("GET", path)).json()
        if not page["queues"]:
            assert page["links"] == []
            break
        seen += [queue["name"] for queue in page["queues"]]
        assert all(queue["href"] == f"/v2/queues/{queue['name']}" for queue in page["queues"])
        assert page["queues"][0]["metadata"]["_default_message_ttl"] == 3600
        assert page["links"][0]["rel"] == "next"
        path = page["links"][0]["href"]
    assert seen == names
    assert len((await door.ask("GET", "/v2/queues")).json()["queues"]) == 10
    for limit in ("0", "21", "-1", "x", "1.5"):
        assert (await door.ask("GET", f"/v2/queues?limit={limit}")).status == 400


async def test_queues_are_filtered_and_counted(door: Door) -> None:
    for number in range(12):
        await door.ask("PUT", f"/v2/queues/q{number}", {"n": number % 3, "s": str(number % 2)})
    counted = (await door.ask("GET", "/v2/queues?with_count=true&limit=2")).json()
    assert (counted["count"], len(counted["queues"])) == (12, 2)
    some = (await door.ask("GET", "/v2/queues?n=1&with_count=true&limit=2&marker=q1")).json()
    assert ([queue["name"] for queue in some["queues"]], some["count"]) == (["q10", "q4"], 4)
    both = (await door.ask("GET", "/v2/queues?n=1&s=0")).json()
    assert [queue["name"] for queue in both["queues"]] == ["q10", "q4"]
    named = (await door.ask("GET", "/v2/queues?name=q1")).json()
    assert [queue["name"] for queue in named["queues"]] == ["q1", "q10", "q11"]
    assert "count" not in named
    assert (await door.ask("GET", "/v2/queues?detailed=maybe")).status == 400


async def test_statistics_are_exact_and_zero_for_no_queue(door: Door) -> None:
    zero = {"messages": {"claimed": 0, "free": 0, "total": 0}}
    assert (await door.ask("GET", "/v2/queues/none/stats")).json() == zero
    post = {"messages": [{"body": number, "ttl": 60 + 60 * number} for number in range(4)]}
    hrefs = (await door.ask("POST", "/v2/queues/q/messages", post)).json()["resources"]
    door.clock.move_s(5)
    await door.ask("POST", "/v2/queues/q/claims?limit=2", {"ttl": 60, "grace": 60})
    counts = (await door.ask("GET", "/v2/queues/q/stats")).json()["messages"]
    created = "2023-11-14T22:13:20Z"
    assert counts == {
        "claimed": 2,
        "free": 2,
        "total": 4,
        "oldest": {"age": 5, "created": created, "href": hrefs[0]},
        "newest": {"age": 5, "created": created, "href": hrefs[3]},
    }
    door.clock.move_s(10_000)
    assert (await door.ask("GET", "/v2/queues/q/stats")).json() == zero
    await door.service.sweep_once()
    assert (await door.ask("GET", "/v2/queues/q/stats")).json() == zero


async def test_a_purge_takes_all_messages_and_keeps_the_queue(door: Door) -> None:
    await door.ask("PUT", "/v2/queues/q", {"a": 1})
    post = {"messages": [{"body": number} for number in range(5)]}
    await door.ask("POST", "/v2/queues/q/messages", post)
    claim = await door.ask("POST", "/v2/queues/q/claims?limit=2", {})
    path = "/v2/queues/q/purge"
    assert (await door.ask("POST", path, {"resource_types": ["subscriptions"]})).status == 204
    assert (await door.ask("GET", "/v2/queues/q/stats")).json()["messages"]["total"] == 5
    assert (await door.ask("POST", path, {"resource_types": ["claims"]})).status == 400
    assert (await door.ask("POST", path)).status == 204
    assert (await door.ask("GET", "/v2/queues/q/stats")).json()["messages"]["total"] == 0
    assert (await door.ask("GET", claim.headers["location"])).status == 404
    late = claim.json()["messages"][0]["href"]
    assert (await door.ask("DELETE", late)).status == 204
    assert (await door.ask("GET", "/v2/queues/q")).json()["a"] == 1
    assert (await door.ask("POST", "/v2/queues/none/purge")).status == 204


async def test_what_was_given_up_is_swept(door: Door) -> None:
    post = {"messages": [{"body": number} for number in range(5)]}
    await door.ask("POST", "/v2/queues/q/messages", post)
    await door.ask("POST", "/v2/queues/q/claims", {})
    await door.ask("POST", "/v2/queues/q/purge")
    await door.ask("POST", "/v2/queues/q/messages", post)
    await door.ask("DELETE", "/v2/queues/q")
    await door.service.sweep_once()
    for table in ("message", "claim", "forsaken", "queue"):
        rows = await door.service.database.read(
            lambda tx, table=table: tx.fetch_one(f"select count(*) from {table}")
        )
        assert (table, rows) == (table, (0,))


async def test_public_documents_need_neither_token_nor_client(door: Door) -> None:
    bare: dict[str, Any] = {"token": "", "client": None}
    for path in ("", "/"):
        versions = await door.ask("GET", path, **bare)
        assert versions.status == 300
        assert [version["id"] for version in versions.json()["versions"]] == ["2"]
    for path in ("/v2", "/v2/"):
        home = await door.ask("GET", path, **bare)
        assert (home.status, home.headers["content-type"]) == (200, "application/json-home")
        assert home.json()["version"]["links"] == [{"href": "/queue/v2/", "rel": "self"}]
    assert (await door.ask("GET", "/v2/ping", **bare)).status == 204
    assert (await door.ask("HEAD", "/v2/ping", **bare)).status == 204


async def test_the_home_document_names_every_route(door: Door) -> None:
    resources = (await door.ask("GET", "/v2")).json()["resources"]
    named = set()
    for resource in resources.values():
        path = resource.get("href") or resource["href-template"].partition("{?")[0]
        for method in resource["hints"]["allow"]:
            named.add((method, path.replace("_name}", "}").replace("_id}", "}")))
    routes = {
        (route.method, route.path)
        for route in door.service.mount.routes
        if route.path not in ("", "/v2")
    }
    assert named - {("HEAD", "/v2/ping"), ("GET", "/v2/websocket")} == routes


async def test_client_id_is_a_uuid_in_any_form(door: Door) -> None:
    missing = await door.ask("GET", "/v2/queues", client=None)
    assert (missing.status, missing.json()["title"]) == (400, "Missing header value")
    wrong = await door.ask("GET", "/v2/queues", client="me")
    assert (wrong.status, wrong.json()["title"]) == (400, "Wrong UUID value")
    assert (await door.ask("GET", "/v2/queues", client=OTHER_CLIENT)).status == 200
    assert (await door.ask("GET", "/v2/queues", client=OTHER_CLIENT.upper())).status == 200


async def test_every_route_refuses_a_bad_token(door: Door) -> None:
    for route in door.service.mount.routes:
        if not route.public:
            path = re.sub(r"\{\w+\}", "x", route.path)
            refused = await door.ask(route.method, path, token="none")
            assert (refused.status, path) == (401, path)


async def test_a_token_for_no_project_is_refused(door: Door) -> None:
    refused = await door.ask("GET", "/v2/queues", token="token-unscoped")
    assert (refused.status, refused.json()["title"]) == (400, "Project-Id Missing")


async def test_a_reader_reads_and_changes_nothing(door: Door) -> None:
    post = {"messages": [{"body": 1}]}
    href = (await door.ask("POST", "/v2/queues/q/messages", post)).json()["resources"][0]
    claim = (await door.ask("POST", "/v2/queues/q/claims", {})).headers["location"]
    reads = ["/v2/queues", "/v2/queues/q", "/v2/queues/q/stats", "/v2/queues/q/messages"]
    for path in [*reads, href, claim, "/v2/queues/q/messages?ids=" + href.rpartition("/")[2]]:
        assert (await door.ask("GET", path, token="token-reader")).status == 200
    writes: list[tuple[str, str, Any, dict[str, str]]] = [
        ("PUT", "/v2/queues/new", {}, {}),
        ("PATCH", "/v2/queues/q", change("add", "a", 1), PATCH),
        ("DELETE", "/v2/queues/q", None, {}),
        ("POST", "/v2/queues/q/purge", {}, {}),
        ("POST", "/v2/queues/q/messages", post, {}),
        ("DELETE", href, None, {}),
        ("DELETE", "/v2/queues/q/messages?pop=1", None, {}),
        ("DELETE", "/v2/queues/q/messages?ids=" + href.rpartition("/")[2], None, {}),
        ("POST", "/v2/queues/q/claims", {}, {}),
        ("PATCH", claim, {}, {}),
        ("DELETE", claim, None, {}),
    ]
    for method, path, body, headers in writes:
        refused = await door.ask(method, path, body, headers=headers, token="token-reader")
        assert (refused.status, method, path) == (403, method, path)
        assert refused.json()["title"] == "Not authorized"
    assert (await door.ask("GET", "/v2/queues/q/stats")).json()["messages"]["total"] == 1


async def test_another_project_sees_and_reaches_nothing(door: Door) -> None:
    post = {"messages": [{"body": "secret"}]}
    href = (await door.ask("POST", "/v2/queues/q/messages", post)).json()["resources"][0]
    await door.ask("PUT", "/v2/queues/q", token="token-b")
    message_id = href.rpartition("/")[2]

    async def as_b(method: str, path: str, body: Any = None) -> int:
        return (await door.ask(method, path, body, token="token-b")).status

    assert await as_b("GET", href) == 404
    assert await as_b("GET", f"/v2/queues/q/messages?ids={message_id}") == 404
    assert await as_b("DELETE", href) == 204
    assert await as_b("DELETE", f"/v2/queues/q/messages?ids={message_id}") == 204
    assert await as_b("POST", "/v2/queues/q/claims", {}) == 204
    claim = await door.ask("POST", "/v2/queues/q/claims", {})
    location = claim.headers["location"]
    assert await as_b("GET", location) == 404
    assert await as_b("PATCH", location, {}) == 404
    assert await as_b("DELETE", location) == 204
    assert await as_b("DELETE", claim.json()["messages"][0]["href"]) == 204
    assert await as_b("POST", "/v2/queues/q/purge") == 204
    assert await as_b("DELETE", "/v2/queues/q") == 204
    assert (await door.ask("GET", location)).json()["messages"][0]["body"] == "secret"
    listed = (await door.ask("GET", "/v2/queues", token="token-b")).json()
    assert listed["queues"] == []


async def test_a_long_search_lets_others_go_on(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transom.queue.app.queues.QUEUES_AT_ONCE", 3)
    for number in range(10):
        await door.ask("PUT", f"/v2/queues/q{number}", {})
    others: list[int] = []
    asyncio.get_running_loop().call_soon(others.append, 1)
    found = await door.service.app.queues.page(
        PROJECTS["token-a"], QueueFilter("none"), "", None, with_count=True
    )
    assert (found.queues, found.count) == ((), 0)
    assert others == [1]
