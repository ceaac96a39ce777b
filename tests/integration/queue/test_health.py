"""Health tries the store, in a queue that is nobody's, and leaves nothing behind."""

from typing import Any

import pytest

from transom.errors import StorageUnavailable
from transom.queue.app.health import PROBES
from transom.queue.store.verbs.messages import Post

from support.queues import Door

pytestmark = pytest.mark.usefixtures("engine")

OPERATIONS = [
    *("create_queue", "post_messages", "claim_messages", "list_messages", "delete_messages"),
    *("delete_claim", "bulk_delete_messages", "delete_queue"),
]


async def health(door: Door) -> Any:
    reply = await door.ask("GET", "/v2/health", token="token-admin")
    assert reply.status == 200, reply.body
    return reply.json()


async def queues_of_probes(door: Door) -> list[str]:
    database = door.service.database
    sql = "select name from queue where project_id = ?"
    return [row[0] for row in await database.read(lambda tx: tx.fetch(sql, (PROBES,)))]


async def test_every_operation_is_tried_timed_and_tidied_up(door: Door) -> None:
    found = await health(door)
    assert found["storage_reachable"] is True
    assert list(found["operation_status"]) == OPERATIONS
    for tried in found["operation_status"].values():
        assert (tried["succeeded"], tried["ref"]) == (True, None)
        assert 0 <= tried["seconds"] < 10
    assert found["message_volume"] == {"free": 0, "claimed": 0, "total": 0}
    assert await queues_of_probes(door) == []


async def test_the_volume_is_of_all_projects_without_what_has_ended(door: Door) -> None:
    for token in ("token-a", "token-b"):
        new = {"messages": [{"body": 1, "ttl": 60}, {"body": 2, "ttl": 600}]}
        await door.ask("POST", "/v2/queues/q/messages", new, token=token)
    await door.ask("POST", "/v2/queues/q/claims?limit=1", {"ttl": 200, "grace": 60})
    assert (await health(door))["message_volume"] == {"free": 3, "claimed": 1, "total": 4}
    door.clock.move_s(61)
    assert (await health(door))["message_volume"] == {"free": 2, "claimed": 1, "total": 3}
    door.clock.move_s(140)
    assert (await health(door))["message_volume"] == {"free": 3, "claimed": 0, "total": 3}


async def test_only_an_admin_may_ask(door: Door) -> None:
    for token, status in (("token-a", 403), ("token-reader", 403), ("", 401)):
        assert (await door.ask("GET", "/v2/health", token=token)).status == status


async def test_what_fails_is_told_and_what_is_left_is_removed_by_the_next_try(
    door: Door, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(*arguments: Any) -> None:
        raise StorageUnavailable("the disk is away")

    with monkeypatch.context() as broken:
        broken.setattr(Post, "run", fails)
        broken.setattr("transom.queue.store.verbs.queues.DeleteQueue.run", fails)
        found = await health(door)
    status = found["operation_status"]
    assert list(status) == ["create_queue", "post_messages", "delete_queue"]
    assert [tried["succeeded"] for tried in status.values()] == [True, False, False]
    refs = {record.__dict__.get("ref") for record in caplog.records}
    assert status["post_messages"]["ref"] in refs
    assert len(await queues_of_probes(door)) == 1
    door.clock.move_s(61)
    await health(door)
    assert await queues_of_probes(door) == []


async def test_ping_answers_get_and_head(door: Door) -> None:
    for method in ("GET", "HEAD"):
        assert (await door.ask(method, "/v2/ping", token="", client=None)).status == 204
