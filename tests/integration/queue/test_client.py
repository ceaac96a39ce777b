# SPDX-License-Identifier: Apache-2.0
"""The Python client, both faces, against a served queue."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from transom.errors import ConfigError
from transom.queue import client
from transom.queue.client import blocking, taking
from transom.queue.client.work import Terms

from support.queues import Door, MovedClock, open_door

T = TypeVar("T")
DEAD = {"_dead_letter_queue": "dead", "_max_claim_count": 10}


def queues_of(door: Door, token: Any = "token-a", **options: Any) -> client.Queues:
    return client.connect(url=f"{door.base_url}/queue", token=token, **options)


async def in_thread(door: Door, use: Callable[[blocking.Queues], T]) -> T:
    """What `use` gives, called in a thread that blocks."""

    def run() -> T:
        with blocking.connect(url=f"{door.base_url}/queue/v2", token=lambda: "token-a") as queues:
            return use(queues)

    return await asyncio.to_thread(run)


async def test_what_is_posted_is_listed_got_counted_and_deleted(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door, queues_of(door) as queues:
        jobs = queues.queue("jobs")
        assert await jobs.create({"owner": "ada"})
        assert not await jobs.create()
        first = await jobs.post({"n": 0}, key="zero")
        again = await jobs.post({"n": 0}, key="zero")
        assert (again.ids, again.duplicates) == (first.ids, [0])
        more = await jobs.post_many([client.New({"n": n}, ttl=100) for n in range(1, 50)])
        assert len(more.ids) == 49
        found = [message async for message in jobs.messages(limit=7)]
        assert [message.body["n"] for message in found] == list(range(50))
        assert (found[0].key, found[1].ttl) == ("zero", 100)
        one = await jobs.get(first.ids[0])
        assert (one.body, one.claim_count, one.claim) == ({"n": 0}, 0, None)
        assert one.created_at is not None
        stats = await jobs.stats()
        assert (stats.free, stats.claimed, stats.total) == (50, 0, 50)
        assert stats.newest is not None
        assert stats.newest.id == more.ids[-1]
        await jobs.delete(first.ids[0])
        await jobs.delete_many(more.ids[:9])
        assert [message.body["n"] for message in await jobs.pop(2)] == [10, 11]
        await jobs.purge()
        assert (await jobs.stats()).total == 0
        assert (await jobs.metadata())["owner"] == "ada"
        changed = await jobs.update({"size": 3}, remove=["owner"])
        assert changed["size"] == 3
        assert "owner" not in changed
        assert [found.name async for found in queues.list()] == ["jobs"]
        await jobs.remove()
        assert [found.name async for found in queues.list()] == []


async def test_the_blocking_face_does_the_same(tmp_path: Path) -> None:
    def use(queues: blocking.Queues) -> list[int]:
        jobs = queues.queue("jobs")
        assert jobs.create(DEAD)
        jobs.post_many([client.New(n) for n in range(30)])
        with jobs.claim(limit=3, ttl=60) as claim:
            assert [message.body for message in claim.messages] == [0, 1, 2]
            assert claim.messages[0].fence == 1
            claim.delete(claim.messages[0])
            assert claim.reject(claim.messages[0], reason="broken") == []
            assert [message.body for message in claim.messages] == [2]
            assert claim.touch(ttl=90) == []
        with queues.claim(["none", "jobs"], limit=1) as claim:
            assert [(message.queue, message.body) for message in claim.messages] == [("jobs", 2)]
        with pytest.raises(client.NotFound, match="no message"):
            jobs.get("00000000-0000-0001-0000-000000000000")
        assert [found.name for found in queues.list()] == ["dead", "jobs"]
        assert queues.queue("dead").redrive().moved == 1
        return [int(message.body) for message in jobs.messages()]

    async with open_door(tmp_path) as door:
        assert await in_thread(door, use) == [*range(2, 30), 1]


async def test_a_claim_that_is_left_frees_what_was_not_dealt_with(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door, queues_of(door) as queues:
        jobs = queues.queue("jobs")
        await jobs.post_many([client.New(n) for n in range(4)])
        with pytest.raises(ZeroDivisionError):
            async with jobs.claim(limit=4) as claim:
                await claim.delete(claim.messages[1])
                await claim.release(claim.messages[0], delay=60)
                raise ZeroDivisionError
        assert [message.body async for message in jobs.messages()] == [2, 3]
        async with jobs.claim(limit=4) as claim:
            assert [message.fence for message in claim.messages] == [2, 2]
            door.clock.move_s(1000)
            with pytest.raises(client.BadRequest) as caught:
                await claim.delete(*claim.messages)
            assert (caught.value.status, caught.value.title) == (400, "Unable to delete")
        async with queues.queue("none").claim() as claim:
            assert (claim.id, claim.messages) == ("", [])


async def test_following_shows_each_message_once_as_it_comes(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door, queues_of(door) as queues:
        jobs = queues.queue("jobs")
        await jobs.post("before")
        seen: list[Any] = []

        async def follow() -> None:
            async for message in jobs.follow(wait=5):
                seen.append(message.body)
                if len(seen) == 3:
                    return

        following = asyncio.create_task(follow())
        for number in range(30):
            await jobs.post(number)
            if following.done():
                break
            await asyncio.sleep(0.05)
        async with asyncio.timeout(20):
            await following
        assert seen == list(range(seen[0], seen[0] + 3))
        everything = jobs.follow("", wait=0)
        assert (await anext(everything)).body == "before"
        await everything.aclose()  # type: ignore[attr-defined]


async def test_a_worker_deletes_frees_and_rejects_by_how_its_handler_ends(tmp_path: Path) -> None:
    clock = MovedClock()
    async with open_door(tmp_path, clock) as door, queues_of(door) as queues:
        jobs, dead = queues.queue("jobs"), queues.queue("dead")
        await jobs.create(DEAD)
        await jobs.post_many([client.New(word) for word in ("good", "bad", "late", "poor", "void")])
        fences: list[tuple[str, int]] = []

        async def handle(message: client.Message) -> None:
            fences.append((message.body, message.fence))
            if message.body == "bad":
                raise client.Reject("not a job")
            if message.body == "late" and message.fence == 1:
                raise client.Later(30)
            if message.body == "poor":
                raise ValueError("poor thing")
            if message.body == "void":
                raise asyncio.CancelledError  # as of something that it waited for

        async def work() -> int:
            return await jobs.work(handle, until_empty=True, wait=0, attempts=2, first_delay=10)

        assert await work() == 1
        assert fences == [("good", 1), ("bad", 1), ("late", 1), ("poor", 1), ("void", 1)]
        assert (await jobs.stats()).total == 3
        clock.move_s(11)
        assert await work() == 0
        clock.move_s(20)
        assert await work() == 1
        assert fences[5:] == [("poor", 2), ("void", 2), ("late", 2)]
        assert (await jobs.stats()).total == 0
        why = [
            (message.body, message.dead_letter.reason, message.dead_letter.text)
            async for message in dead.messages()
            if message.dead_letter is not None
        ]
        assert why == [
            ("bad", "rejected", "not a job"),
            ("poor", "rejected", "ValueError: poor thing"),
            ("void", "rejected", "what the handler waited for was cancelled"),
        ]


async def test_a_worker_holds_a_message_as_long_as_its_handler_runs(tmp_path: Path) -> None:
    clock = MovedClock()
    async with open_door(tmp_path, clock) as door, queues_of(door) as queues:
        jobs = queues.queue("jobs")
        await jobs.post("long")

        async def handle(message: client.Message) -> None:
            assert message.claim is not None
            end = message.claim.expires_at
            for _ in range(4):
                clock.move_s(50)
                while (hold := (await jobs.get(message.id)).claim) and hold.expires_at <= end:
                    await asyncio.sleep(0.01)
                assert hold is not None
                end = hold.expires_at

        async with asyncio.timeout(20):
            assert await jobs.work(handle, until_empty=True, wait=0, renew_s=0.02) == 1


async def test_a_handler_whose_message_is_lost_is_cancelled(tmp_path: Path) -> None:
    clock = MovedClock()
    async with open_door(tmp_path, clock) as door, queues_of(door) as queues:
        jobs = queues.queue("jobs")
        await jobs.post("lost")
        ended: list[str] = []

        async def handle(message: client.Message) -> None:
            if message.fence > 1:
                return
            clock.move_s(61)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise

        async with asyncio.timeout(20):
            assert await jobs.work(handle, until_empty=True, wait=0, renew_s=0.02) == 1
        assert ended == ["cancelled"]


async def test_a_stopped_worker_ends_after_what_is_in_hand(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door, queues_of(door) as queues:
        jobs = queues.queue("jobs")
        await jobs.post_many([client.New(n) for n in range(9)])
        stop, begun, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def handle(message: client.Message) -> None:
            if message.body == 3:
                begun.set()
            if message.body >= 2:
                await go_on.wait()

        working = asyncio.create_task(jobs.work(handle, stop=stop, at_once=2))
        async with asyncio.timeout(20):
            await begun.wait()
            stop.set()
            go_on.set()
            assert await working == 4
        assert [message.body async for message in jobs.messages()] == list(range(4, 9))


async def test_a_cancelled_worker_gives_back_what_is_in_hand(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door, queues_of(door) as queues:
        jobs = queues.queue("jobs")
        await jobs.post("held")
        begun = asyncio.Event()

        async def handle(message: client.Message) -> None:
            begun.set()
            await asyncio.Event().wait()

        working = asyncio.create_task(jobs.work(handle))
        async with asyncio.timeout(20):
            await begun.wait()
            working.cancel()
            with pytest.raises(asyncio.CancelledError):
                await working
        assert (await jobs.stats()).free == 1


async def test_a_blocking_worker_handles_in_threads_and_stops_when_told(tmp_path: Path) -> None:
    def use(queues: blocking.Queues) -> tuple[int, int]:
        jobs = queues.queue("jobs")
        jobs.post_many([client.New(n) for n in range(10)])
        stop, both = threading.Event(), threading.Barrier(2)
        threads: set[int] = set()

        def handle(message: client.Message) -> None:
            threads.add(threading.get_ident())
            both.wait(20)
            if message.body == 9:
                stop.set()

        return jobs.work(handle, stop=stop, at_once=2), len(threads)

    async with open_door(tmp_path) as door:
        assert await in_thread(door, use) == (10, 2)


async def test_a_worker_waits_for_what_comes(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door, queues_of(door) as queues:
        names, done = ["first", "second"], asyncio.Event()
        stop = asyncio.Event()

        async def handle(message: client.Message) -> None:
            assert message.queue == "second"
            done.set()

        working = asyncio.create_task(queues.work(names, handle, stop=stop))
        await queues.queue("second").post(1)
        async with asyncio.timeout(20):
            await done.wait()
            stop.set()
            assert await working == 1


async def test_a_token_that_holds_no_more_is_asked_for_anew(tmp_path: Path) -> None:
    tokens = iter(["token-gone", "token-a", "token-a"])

    async def token() -> str:
        return next(tokens)

    async with open_door(tmp_path) as door, queues_of(door, token) as queues:
        assert await queues.queue("jobs").create()


async def test_refusals_say_what_the_server_says(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        async with queues_of(door, "token-reader") as queues:
            with pytest.raises(client.Forbidden) as caught:
                await queues.queue("jobs").create()
            assert caught.value.title == "Not authorized"
            assert isinstance(caught.value, client.QueueError)
            with pytest.raises(client.BadRequest):
                await queues.queue("no such name").stats()
        async with queues_of(door, "nothing") as queues:
            with pytest.raises(client.Unauthorized):
                await queues.queue("jobs").stats()
        with pytest.raises(client.Ended, match="enter it"):
            await queues.queue("jobs").stats()
    async with queues_of(door, patience_s=0.5) as queues:
        with pytest.raises(client.Unavailable, match="cannot be reached"):
            await queues.queue("jobs").stats()


def test_who_signs_in_has_to_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OS_CLOUD", "OS_AUTH_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="OS_AUTH_URL"):
        client.connect()
    with pytest.raises(ConfigError, match="url"):
        client.connect(token="t")


def test_delays_grow_to_a_bound() -> None:
    terms = Terms(first_delay=2, most_delay=100)
    assert [terms.delay(count) for count in (0, 1, 2, 3, 6, 7, 10_000)] == [
        2,
        2,
        4,
        8,
        64,
        100,
        100,
    ]
    with pytest.raises(ValueError, match="at_once"):
        Terms(at_once=0)


def test_to_import_it_loads_nothing_of_the_server() -> None:
    script = (
        "import sys; from transom.queue import client; client.connect; client.blocking; "
        "loaded = {name for name in sys.modules}; "
        "print(sorted(loaded & {'aiohttp', 'falcon', 'uvicorn', 'asyncpg', 'sqlite3', "
        "'transom.queue.store', 'transom.queue.app', 'transom.queue.api', 'transom.runtime.http'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


class Broken:
    """Between a client and the door: of the first requests it keeps the answers, says 503, or
    hands it (`held`; not of one who has hung up) or the answer (`late`) on when it may (`go_on`);
    `reached`: it has come to that."""

    def __init__(self, door: Door, faults: list[str]) -> None:
        self._door = door
        self._faults = faults
        self.keys: list[str] = []
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        found = dict(
            line.lower().split(": ", 1) for line in head.decode().split("\r\n") if ": " in line
        )
        body = await reader.readexactly(int(found.get("content-length", 0)))
        self.keys.append(found.get("idempotency-key", ""))
        fault = self._faults.pop(0) if self._faults else ""
        if fault == "held":
            self.reached.set()
            await self.go_on.wait()
        if reader.at_eof():
            pass
        elif fault == "busy":
            writer.write(b"HTTP/1.1 503 x\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n")
        else:
            host, _, port = self._door.base_url.removeprefix("http://").partition(":")
            there, back = await asyncio.open_connection(host, int(port))
            back.write(head.replace(b"\r\n", b"\r\nconnection: close\r\n", 1) + body)
            answer = await there.read()
            back.close()
            if fault == "late":
                self.reached.set()
                await self.go_on.wait()
            if fault != "lost":
                writer.write(answer)
        writer.close()


@asynccontextmanager
async def carried(door: Door, faults: list[str]) -> AsyncIterator[tuple[Broken, client.Queues]]:
    broken = Broken(door, faults)
    async with await asyncio.start_server(broken.carry, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/queue"
        async with client.connect(url=url, token="token-a") as queues:
            yield broken, queues


async def test_what_is_sent_again_is_done_once(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        faults = ["lost", "busy", "lost", "", "lost", ""]
        async with carried(door, faults) as (broken, queues):
            jobs = queues.queue("jobs")
            await jobs.post("once")
            assert len(set(broken.keys)) == 1
            async with jobs.claim() as claim:
                assert [(message.body, message.fence) for message in claim.messages] == [
                    ("once", 1)
                ]
                assert len(set(broken.keys)) == 2
                await claim.delete(*claim.messages)
            broken._faults[:] = ["lost"]
            with pytest.raises(client.Unavailable):
                await jobs.pop()


async def test_a_session_of_keystoneauth_gives_token_and_address(tmp_path: Path) -> None:
    class Session:
        """As much of one as is used."""

        def __init__(self, url: str) -> None:
            self.url = url
            self.tokens = ["token-gone", "token-a"]

        def get_token(self) -> str:
            return self.tokens[0]

        def get_endpoint(self, **filters: str) -> str:
            assert filters == {"service_type": "messaging", "interface": "public"}
            return self.url

        def invalidate(self) -> bool:
            self.tokens.pop(0)
            return True

    async with open_door(tmp_path) as door:
        session = Session(f"{door.base_url}/queue")
        async with client.connect(session=session) as queues:
            assert await queues.queue("jobs").create()


async def test_subscriptions_are_made_listed_renewed_and_ended(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door, queues_of(door) as queues:
        jobs = queues.queue("jobs")
        made = await jobs.subscribe("https://hooks.example.org/x", ttl=600, options={"a": 1})
        await jobs.resubscribe(made.subscription_id, ttl=900)
        found = [one async for one in jobs.subscriptions()]
        assert [(one.id, one.ttl, one.subscriber) for one in found] == [
            (made.subscription_id, 900, "https://hooks.example.org/x")
        ]
        await jobs.unsubscribe(made.subscription_id)
        assert [one async for one in jobs.subscriptions()] == []


async def test_who_is_cancelled_while_it_takes_holds_nothing(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        async with carried(door, ["", "late"]) as (broken, queues):
            jobs = queues.queue("jobs")
            await jobs.post("free again")
            taking = asyncio.create_task(jobs.claim().__aenter__())
            await broken.reached.wait()
            taking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await taking
            assert (await jobs.stats()).claimed == 1
            broken.go_on.set()
        async with queues_of(door) as queues:
            assert (await queues.queue("jobs").stats()).free == 1


async def test_a_stopped_worker_gives_back_what_it_was_about_to_be_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking, "WAITS_S", 20.0)
    handled: list[object] = []
    async with open_door(tmp_path) as door:
        async with carried(door, ["", "late"]) as (broken, queues):
            jobs = queues.queue("jobs")
            await jobs.post("free again")
            stop = asyncio.Event()
            working = asyncio.create_task(jobs.work(handled.append, stop=stop))
            await broken.reached.wait()
            stop.set()
            assert await working == 0
            broken.go_on.set()
        async with queues_of(door) as queues:
            assert (await queues.queue("jobs").stats()).free == 1
    assert handled == []


async def test_a_cancelled_worker_sees_a_deletion_through(tmp_path: Path) -> None:
    async def handle(message: client.Message) -> None:
        """It is done."""

    async with open_door(tmp_path) as door, carried(door, ["", "", "held"]) as (broken, queues):
        jobs = queues.queue("jobs")
        await jobs.post("done")
        working = asyncio.create_task(jobs.work(handle))
        await broken.reached.wait()
        working.cancel()
        await asyncio.wait({working}, timeout=0.2)
        broken.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await working
        assert (await jobs.stats()).total == 0


async def test_no_number_that_somebody_posts_ends_a_worker(tmp_path: Path) -> None:
    handled: list[Any] = []

    async def handle(message: client.Message) -> None:
        handled.append(message.body)

    async with open_door(tmp_path) as door, queues_of(door) as queues:
        jobs = queues.queue("jobs")
        for body in (b"0", b"1e999", b'{"n": ' + b"9" * 5000 + b"}"):
            await jobs.post(msgspec.Raw(body))
        expected = [0, inf, {"n": inf}]
        assert [message.body async for message in jobs.messages()] == expected
        assert await jobs.work(handle, until_empty=True, wait=0) == 3
        assert handled == expected


async def test_any_key_of_the_metadata_can_be_changed(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door, queues_of(door) as queues:
        jobs = queues.queue("jobs")
        await jobs.create({"a/b": 1})
        assert (await jobs.update({"c~/d": 2}, remove=["a/b"]))["c~/d"] == 2
        assert "a/b" not in await jobs.metadata()


async def test_nothing_named_is_nothing_deleted(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door, queues_of(door) as queues:
        jobs = queues.queue("jobs")
        await jobs.create(DEAD)
        await jobs.post_many([client.New(n) for n in range(3)])
        async with jobs.claim() as claim:
            done: list[client.Message] = []
            assert await claim.delete(*done) == []
            assert await claim.reject(*done) == []
            assert len(claim.messages) == 3
            await claim.delete(*claim.messages[1:])
        assert [message.body async for message in jobs.messages()] == [0]


async def test_a_queue_is_there_or_not(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door, queues_of(door) as queues:
        jobs = queues.queue("jobs")
        assert not await jobs.exists()
        await jobs.create()
        assert await jobs.exists()


async def test_a_session_that_cannot_reach_keystone_is_asked_again(tmp_path: Path) -> None:
    class RetriableConnectionFailure(Exception):
        """As keystoneauth calls its own."""

    class Unauthorized(Exception):
        http_status = 401

    class Session:
        def __init__(self, url: str, *fails: Exception) -> None:
            self.url = url
            self.fails = list(fails)

        def get_token(self) -> str:
            if self.fails:
                raise self.fails.pop(0)
            return "token-a"

        def get_endpoint(self, **filters: str) -> str:
            return self.url

        def invalidate(self) -> bool:
            return True

    async with open_door(tmp_path) as door:
        url = f"{door.base_url}/queue"
        away = Session(url, RetriableConnectionFailure("no route"), OSError("reset"))
        async with client.connect(session=away) as queues:
            assert await queues.queue("jobs").create()
        for fails, kind in (
            (Unauthorized("wrong password"), client.Unauthorized),
            (ValueError("a bug"), client.QueueError),
        ):
            async with client.connect(session=Session(url, fails)) as queues:
                with pytest.raises(kind, match=str(fails)):
                    await queues.queue("jobs").stats()
