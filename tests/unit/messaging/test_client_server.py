"""Calls, casts and servers on the memory bus, in virtual time."""

import asyncio
import logging
import threading

import pytest

from transom import errors, messaging
from transom.errors import (
    Conflict,
    InvalidTarget,
    MessageDeliveryFailure,
    MessageUndeliverable,
    MessagingTimeout,
    NoSuchMethod,
    NotFound,
    RemoteError,
    Unavailable,
    UnsupportedVersion,
    VersionCapError,
)
from transom.messaging import Client, Server, Target
from transom.messaging.drivers.base import Address, Kind
from transom.messaging.drivers.memory import MemoryBus
from transom.messaging.envelope import Failure, Request, decode_reply, encode_request
from transom.messaging.failure import error_of, failure_of
from transom.messaging.transport import DRIVER_LATE_S

from virtual import VirtualClock, run_virtual, seeded_randomness

CONTEXT = {"request_id": "req-1", "project_id": "p"}


def transport(peer: str, seed: int = 0) -> messaging.Transport:
    return messaging.connect(
        f"memory://bus/{peer}", clock=VirtualClock(), random=seeded_randomness(f"{peer}{seed}")
    )


def now_s() -> float:
    return asyncio.get_running_loop().time()


class QueueMissing(NotFound):
    """A part's own error."""


class Endpoint:
    def __init__(self) -> None:
        self.done: list[object] = []
        self.contexts: list[dict] = []

    async def echo(self, context, **args):
        self.contexts.append(context)
        return args

    def plain(self, context, number):
        self.done.append(number)
        return number + 1

    async def slow(self, context, seconds, number=0):
        await asyncio.sleep(seconds)
        self.done.append(number)
        return number

    async def fail(self, context, kind):
        raise {
            "own": QueueMissing("no queue 'q'"),
            "conflict": Conflict("changed"),
            "busy": Unavailable("busy", retry_after_s=7),
            "foreign": ZeroDivisionError("by zero"),
            "nested": MessagingTimeout("nested"),
        }[kind]

    async def unsendable(self, context):
        return object()

    async def odd(self, context):
        raise OSError("no file '\udcff'")

    async def waits_for_what_is_cancelled(self, context):
        inner = asyncio.ensure_future(asyncio.sleep(100))
        asyncio.get_running_loop().call_later(1, inner.cancel)
        await inner


def on_bus(main, seed=0, **server_options):
    """Runs `main(client, endpoint, transport of the client)` against one server."""

    async def run():
        endpoint = Endpoint()
        async with (
            transport("client", seed) as ours,
            transport("server", seed) as theirs,
            Server(theirs, Target(topic="t", server="h"), [endpoint], **server_options),
        ):
            return await main(Client(ours, Target(topic="t")), endpoint, ours)

    return run_virtual(run, seed)


def test_call_gets_its_answer_and_the_context_arrives() -> None:
    async def main(client, endpoint, _):
        assert await client.call(CONTEXT, "echo", text="é", none=None) == {
            "text": "é",
            "none": None,
        }
        assert endpoint.contexts == [CONTEXT]
        assert await client.call({}, "plain", number=1) == 2
        assert await client.to(server="h").call({}, "plain", number=2) == 3

    on_bus(main)


def test_many_calls_at_once_get_each_its_own_answer() -> None:
    async def main(client, endpoint, ours):
        answers = await asyncio.gather(
            *(client.call({}, "slow", seconds=i % 7, number=i) for i in range(300))
        )
        assert answers == list(range(300))
        assert len(ours.calls) == 0

    on_bus(main, seed=3)


@pytest.mark.parametrize(
    ("kind", "error", "text"),
    [
        ("own", NotFound, "no queue 'q'"),
        ("conflict", Conflict, "changed"),
        ("busy", Unavailable, "busy"),
        ("foreign", RemoteError, "ZeroDivisionError: by zero"),
        ("nested", RemoteError, "MessagingTimeout: nested"),
    ],
)
def test_what_an_endpoint_raises_comes_back(kind, error, text) -> None:
    async def main(client, endpoint, _):
        with pytest.raises(error) as caught:
            await client.call({}, "fail", kind=kind)
        assert type(caught.value) is error
        assert str(caught.value) == text
        assert "Traceback" in caught.value.detail
        if kind == "busy":
            assert caught.value.retry_after_s == 7

    on_bus(main)


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        ("os", "system"),
        ("builtins", "SystemExit"),
        ("transom.errors", "dataclass"),
        ("transom.errors", "TransomError"),
        ("transom.errors", "ConfigError"),
        ("transom.errors", "MessagingTimeout"),
        ("transom.errors", "__import__"),
        ("", ""),
    ],
)
def test_only_listed_classes_return(module, kind) -> None:
    found = error_of(Failure(kind=kind, module=module, message="m"))
    assert type(found) is RemoteError


def test_error_with_hostile_arguments_still_returns() -> None:
    for kwargs in ({"retry_after_s": "1"}, {"retry_after_s": -5}, {"allowed": [1, {}]}, {"x": 1}):
        for kind in ("Unavailable", "MethodNotAllowed", "NotFound"):
            failure = Failure(kind=kind, module="transom.errors", message="m", kwargs=kwargs)
            assert type(error_of(failure)) is getattr(errors, kind)


def test_remote_error_that_is_passed_on_names_its_origin() -> None:
    found = failure_of(RemoteError("KeyError", "'k'", ("line",)))
    assert (found.kind, found.message, found.traceback) == ("KeyError", "'k'", ("line",))


def test_exception_without_a_text_returns() -> None:
    class Broken(Exception):
        def __str__(self):
            raise ValueError

    assert failure_of(Broken()).message == ""


def test_unknown_method_and_version_are_told_at_once() -> None:
    async def main(client, endpoint, _):
        with pytest.raises(NoSuchMethod):
            await client.call({}, "none")
        with pytest.raises(UnsupportedVersion):
            await client.to(version="9.0").call({}, "echo")
        with pytest.raises(UnsupportedVersion):
            await client.to(namespace="x").call({}, "echo")
        assert now_s() < 1001

    on_bus(main)


def test_answer_that_json_cannot_carry_is_an_error_at_the_caller() -> None:
    async def main(client, endpoint, _):
        with pytest.raises(RemoteError, match="InvalidEnvelope"):
            await client.call({}, "unsendable")

    on_bus(main)


def test_error_with_half_a_character_in_its_text_returns() -> None:
    async def main(client, endpoint, _):
        with pytest.raises(RemoteError, match=r"no file"):
            await client.call({}, "odd")
        assert now_s() < 1001

    on_bus(main)


def test_endpoint_whose_work_was_cancelled_answers_with_that() -> None:
    async def main(client, endpoint, _):
        with pytest.raises(RemoteError, match="CancelledError"):
            await client.call({}, "waits_for_what_is_cancelled")
        assert now_s() == pytest.approx(1001, abs=0.1)

    on_bus(main)


def test_base_interface_is_answered_by_every_server() -> None:
    async def main(client, endpoint, _):
        base = client.to(namespace="transom", version="1.0")
        assert await base.call({}, "ping") == {"server": "h"}
        assert (await base.call({}, "version"))["base"] == "1.0"
        assert [one["namespace"] for one in await base.call({}, "endpoints")] == [None, "transom"]

    on_bus(main)


def test_call_raises_at_its_timeout_and_the_late_answer_is_dropped() -> None:
    async def main(client, endpoint, ours):
        started = now_s()
        with pytest.raises(MessagingTimeout):
            await client.to(timeout_s=2).call({}, "slow", seconds=3)
        assert now_s() - started == pytest.approx(2)
        await asyncio.sleep(5)
        assert len(ours.calls) == 0

    on_bus(main)


def test_call_to_nobody_fails_at_once() -> None:
    async def main(client, endpoint, _):
        started = now_s()
        for nobody in (client.to(topic="none"), client.to(server="none")):
            with pytest.raises(MessageUndeliverable):
                await nobody.call({}, "echo")
        assert now_s() - started < 0.1

    on_bus(main)


def test_idempotent_call_waits_for_a_server_to_come() -> None:
    async def run():
        async with transport("client") as ours, transport("server") as theirs:
            client = Client(ours, Target(topic="t"), timeout_s=10, idempotent=True)
            answer = asyncio.ensure_future(client.call({}, "plain", number=1))
            await asyncio.sleep(5)
            async with Server(theirs, Target(topic="t", server="h"), [Endpoint()]):
                assert await answer == 2
                assert now_s() < 1007
            started = now_s()
            with pytest.raises((MessageUndeliverable, MessagingTimeout)):
                await client.call({}, "plain", number=1)
            assert 8 < now_s() - started <= 10

    run_virtual(run, 1)


def test_call_that_waited_past_its_deadline_is_not_carried_out() -> None:
    async def main(client, endpoint, _):
        holding = asyncio.ensure_future(client.call({}, "slow", seconds=10, number=1))
        await asyncio.sleep(1)
        with pytest.raises(MessagingTimeout):
            await client.to(timeout_s=3).call({}, "slow", seconds=0, number=2)
        await client.to(timeout_s=3).cast({}, "slow", seconds=0, number=3)
        await holding
        await asyncio.sleep(10)
        assert endpoint.done == [1]

    on_bus(main, concurrency=1)


def test_clocks_that_disagree_keep_nobody_from_calling() -> None:
    async def run():
        ahead = VirtualClock()
        ahead.shift_ms = 3_600_000
        theirs = messaging.connect("memory://bus/server", clock=ahead)
        server = Server(theirs, Target(topic="t", server="h"), [Endpoint()])
        async with transport("client") as ours, theirs, server:
            client = Client(ours, Target(topic="t"), timeout_s=2)
            assert await client.call({}, "plain", number=1) == 2

    run_virtual(run, 1)


def test_copy_of_a_request_is_not_carried_out() -> None:
    async def main(client, endpoint, ours):
        body = encode_request(
            Request(method="plain", args={"number": 1}, context={}, unique_id="u")
        )
        for _ in range(3):
            await ours.send(Address(Kind.TOPIC, "t"), body, deadline_s=now_s() + 60)
        await asyncio.sleep(1)
        assert endpoint.done == [1]

    on_bus(main)


def test_unreadable_request_harms_nobody(caplog) -> None:
    async def main(client, endpoint, ours):
        for body in (b"", b"[" * 100_000, b'{"method": 1}'):
            await ours.send(Address(Kind.TOPIC, "t"), body, deadline_s=now_s() + 60)
        assert await client.call({}, "plain", number=1) == 2

    on_bus(main, concurrency=1)
    assert caplog.text.count("unreadable request dropped") == 3


def test_cast_is_carried_out_by_one_and_fan_out_by_all() -> None:
    async def run():
        endpoints = [Endpoint() for _ in range(3)]
        async with transport("client") as ours, transport("server") as theirs:
            servers = [
                Server(theirs, Target(topic="t", server=f"h{number}"), [endpoint])
                for number, endpoint in enumerate(endpoints)
            ]
            for server in servers:
                await server.start()
            client = Client(ours, Target(topic="t"))
            for number in range(6):
                await client.cast({}, "plain", number=number)
            await asyncio.sleep(1)
            assert sorted(number for one in endpoints for number in one.done) == list(range(6))
            assert [len(one.done) for one in endpoints] == [2, 2, 2]
            await client.to(fanout=True).cast({}, "plain", number=9)
            await client.to(server="h1").cast({}, "plain", number=8)
            await asyncio.sleep(1)
            assert [one.done[2:] for one in endpoints] == [[9], [9, 8], [9]]

    run_virtual(run, 2)


def test_fan_out_call_is_refused() -> None:
    async def main(client, endpoint, _):
        with pytest.raises(InvalidTarget):
            await client.to(fanout=True).call({}, "echo")

    on_bus(main)


@pytest.mark.parametrize(
    ("cap", "version", "may"),
    [
        (None, None, True),
        (None, "7.0", True),
        ("1.3", None, False),
        ("1.3", "1.3", True),
        ("1.3", "1.4", False),
        ("1.3.1", "1.3.2", False),
        ("1.3", "2.0", False),
    ],
)
def test_version_cap_is_kept(cap, version, may) -> None:
    async def main(client, endpoint, _):
        capped = client.to(version_cap=cap, version=version)
        assert capped.can_send_version() is may
        if not may:
            with pytest.raises(VersionCapError):
                await capped.cast({}, "echo")

    on_bus(main)


def test_derived_client_leaves_the_first_as_it_was() -> None:
    async def main(client, endpoint, _):
        other = client.to(topic="u", namespace="n", version="1.2", timeout_s=3)
        assert client.target == Target(topic="t")
        assert other.target == Target(topic="u", namespace="n", version="1.2")
        assert other.to(namespace=None).target == Target(topic="u", version="1.2")

    on_bus(main)


@pytest.mark.parametrize("target", [Target(), Target(server="h"), Target(topic="t", version="x")])
def test_client_refuses_a_target_that_it_cannot_use(target) -> None:
    with pytest.raises(InvalidTarget):
        Client(messaging.connect("memory://"), target)


@pytest.mark.parametrize("target", [Target(), Target(topic="t"), Target(server="h")])
def test_server_refuses_a_target_that_it_cannot_use(target) -> None:
    with pytest.raises(InvalidTarget):
        Server(messaging.connect("memory://"), target, [])


def test_heartbeats_keep_a_long_call_alive() -> None:
    async def main(client, endpoint, _):
        watched = client.to(call_monitor_timeout_s=2, timeout_s=60)
        assert await watched.call({}, "slow", seconds=20, number=5) == 5
        assert now_s() == pytest.approx(1020, abs=0.1)

    on_bus(main)


def test_silent_server_is_given_up_before_the_timeout() -> None:
    async def main(client, endpoint, _):
        watched = client.to(call_monitor_timeout_s=2, timeout_s=60)
        call = asyncio.ensure_future(watched.call({}, "slow", seconds=20))
        await asyncio.sleep(5)
        MemoryBus.named("bus").cut("client", "server")
        with pytest.raises(MessagingTimeout, match="silent"):
            await call
        assert now_s() < 1008

    on_bus(main)


def test_refused_call_leaves_no_heartbeat_behind() -> None:
    async def main(client, endpoint, _):
        watched = client.to(call_monitor_timeout_s=2)
        before = len(asyncio.all_tasks())
        for _ in range(50):
            with pytest.raises(NoSuchMethod):
                await watched.call({}, "none")
        await asyncio.sleep(0.5)
        assert len(asyncio.all_tasks()) <= before

    on_bus(main)


def test_callers_that_died_do_not_hold_the_server_up() -> None:
    async def main(client, endpoint, ours):
        for number in range(64):
            dead = Request(
                method="plain",
                args={"number": number},
                context={},
                unique_id=str(number),
                msg_id=str(number),
                reply_q=f"reply_dead{number}",
            )
            await ours.send(Address(Kind.TOPIC, "t"), encode_request(dead), deadline_s=now_s() + 60)
        started = now_s()
        assert await client.call({}, "plain", number=99) == 100
        assert now_s() - started < 0.1
        assert len(endpoint.done) == 65

    on_bus(main)


def test_concurrency_is_bounded() -> None:
    async def main(client, endpoint, _):
        started = now_s()
        await asyncio.gather(*(client.call({}, "slow", seconds=1) for _ in range(12)))
        assert now_s() - started == pytest.approx(3, abs=0.1)

    on_bus(main, concurrency=4)


def test_stop_finishes_what_runs_and_its_answers_go_out() -> None:
    async def run():
        endpoint, other = Endpoint(), Endpoint()
        async with transport("client") as ours, transport("server") as theirs:
            leaving = Server(theirs, Target(topic="t", server="h"), [endpoint], concurrency=4)
            await leaving.start()
            client = Client(ours, Target(topic="t"), timeout_s=30)
            calls = [
                asyncio.ensure_future(client.call({}, "slow", seconds=5, number=number))
                for number in range(8)
            ]
            await asyncio.sleep(1)
            staying = Server(theirs, Target(topic="t", server="i"), [other], concurrency=8)
            await staying.start()
            await leaving.stop()
            assert len(endpoint.done) == 4
            assert await asyncio.gather(*calls) == list(range(8))
            assert sorted(endpoint.done + other.done) == list(range(8))

    run_virtual(run, 4)


def test_server_can_be_started_again_and_is_stopped_with_its_transport() -> None:
    async def run():
        endpoint = Endpoint()
        async with transport("client") as ours:
            client = Client(ours, Target(topic="t"))
            theirs = transport("server")
            await theirs.start()
            server = Server(theirs, Target(topic="t", server="h"), [endpoint])
            for _ in range(2):
                await server.start()
                assert await client.call({}, "plain", number=1) == 2
                await server.stop()
                await server.stop()
                with pytest.raises(MessageUndeliverable):
                    await client.call({}, "plain", number=1)
            await server.start()
            running = asyncio.ensure_future(client.call({}, "slow", seconds=3, number=7))
            await asyncio.sleep(1)
            await theirs.stop()
            assert await running == 7
            with pytest.raises(MessageUndeliverable):
                await client.call({}, "plain", number=1)

    run_virtual(run, 5)


def test_request_that_outlives_the_drain_is_given_up(caplog) -> None:
    async def run():
        endpoint = Endpoint()
        async with transport("client") as ours, transport("server") as theirs:
            server = Server(theirs, Target(topic="t", server="h"), [endpoint], drain_s=2)
            await server.start()
            client = Client(ours, Target(topic="t"), timeout_s=10)
            running = asyncio.ensure_future(client.call({}, "slow", seconds=1000))
            await asyncio.sleep(1)
            await server.stop()
            assert now_s() == pytest.approx(1003, abs=0.1)
            with pytest.raises(MessagingTimeout):
                await running

    run_virtual(run, 6)
    assert "request given up at stop" in caplog.text


def test_calls_in_flight_fail_when_their_transport_stops() -> None:
    async def main(client, endpoint, ours):
        call = asyncio.ensure_future(client.call({}, "slow", seconds=10))
        await asyncio.sleep(1)
        await ours.stop()
        with pytest.raises(MessageDeliveryFailure, match="stopped"):
            await call
        with pytest.raises(MessageDeliveryFailure, match="does not run"):
            await client.call({}, "echo")

    on_bus(main)


def test_cancelled_call_is_forgotten() -> None:
    async def main(client, endpoint, ours):
        call = asyncio.ensure_future(client.call({}, "slow", seconds=10))
        await asyncio.sleep(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert len(ours.calls) == 0
        await asyncio.sleep(20)

    on_bus(main)


def test_driver_that_hangs_cannot_hold_a_call_past_its_timeout(monkeypatch) -> None:
    async def main(client, endpoint, ours):
        def hang(*args, **options):
            """Tells nobody."""

        monkeypatch.setattr(ours.driver, "send", hang)
        started = now_s()
        with pytest.raises(MessagingTimeout):
            await client.to(timeout_s=3).call({}, "echo")
        with pytest.raises(MessageDeliveryFailure):
            await client.to(timeout_s=3).cast({}, "echo")
        assert now_s() - started == pytest.approx(6 + DRIVER_LATE_S)

    on_bus(main)


def test_expected_exceptions_are_not_logged(caplog) -> None:
    async def main(client, endpoint, _):
        with pytest.raises(NotFound):
            await client.call({}, "fail", kind="own")
        with pytest.raises(RemoteError):
            await client.call({}, "fail", kind="foreign")

    with caplog.at_level(logging.ERROR):
        on_bus(main)
    assert [record.message for record in caplog.records] == ["endpoint failed"]


async def test_blocking_endpoint_runs_in_a_thread_of_its_server() -> None:
    class Blocking:
        def where(self, context):
            return threading.current_thread().name

        async def loop(self, context):
            return threading.current_thread().name

    async with messaging.connect("memory://threads") as bus:
        server = Server(bus, Target(topic="t", server="h"), [Blocking()], executor="thread")
        async with server:
            client = Client(bus, Target(topic="t"))
            assert (await client.call({}, "where")).startswith("transom-endpoint")
            assert await client.call({}, "loop") == threading.current_thread().name


def test_reply_of_a_heartbeat_is_empty_and_not_the_ending() -> None:
    async def main(client, endpoint, ours):
        heard: list = []
        address = Address(Kind.REPLY, "reply_ours")
        await ours.listen([address], heard.append, prefetch=10)
        request = Request(
            method="slow",
            args={"seconds": 2.5},
            context={},
            unique_id="u",
            msg_id="m",
            reply_q="reply_ours",
            monitor_s=2,
        )
        await ours.send(Address(Kind.TOPIC, "t"), encode_request(request), deadline_s=now_s() + 60)
        await asyncio.sleep(5)
        replies = [decode_reply(delivery.body) for delivery in heard]
        assert [(reply.ending, reply.result) for reply in replies] == [
            (False, None),
            (False, None),
            (True, 0),
        ]
        assert len({reply.unique_id for reply in replies}) == 3

    on_bus(main)


def test_what_fails_to_stop_keeps_no_other_up(caplog) -> None:
    stopped: list[str] = []

    class User:
        def __init__(self, name: str) -> None:
            self.name = name

        async def start(self) -> None: ...

        async def stop(self) -> None:
            stopped.append(self.name)
            if self.name == "bad":
                raise ValueError
            if self.name == "slow":
                await asyncio.sleep(1000)

    async def run():
        ours = transport("client")
        await ours.start()
        for name in ("slow", "bad", "good"):
            ours.adopt(User(name))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await ours.stop()
        assert stopped == ["good", "bad", "slow"]
        async with transport("client"):
            pass  # the name is free again, so the driver has let go

    run_virtual(run, 7)
    assert "failed to stop on a transport" in caplog.text


def test_transport_that_cannot_listen_lets_go_of_its_driver(monkeypatch) -> None:
    async def run():
        ours = transport("client")

        async def refuse(*args, **options):
            raise MessageDeliveryFailure("no")

        monkeypatch.setattr(ours.driver, "listen", refuse)
        with pytest.raises(MessageDeliveryFailure):
            await ours.start()
        assert len(asyncio.all_tasks()) == 1
        async with transport("client"):
            pass

    run_virtual(run, 8)
