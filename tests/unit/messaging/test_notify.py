"""Notifications on the memory bus, in virtual time."""

import asyncio

import pytest

from transom import messaging
from transom.errors import InvalidTarget, MessageDeliveryFailure
from transom.messaging import Connected, Disconnected, Gap, Listener, Notifier, Target
from transom.messaging.drivers.base import Address, Kind
from transom.messaging.drivers.memory import MemoryBus
from transom.messaging.envelope import decode_notification
from transom.messaging.transport import EVENTS_MAX

from virtual import VirtualClock, run_virtual, seeded_randomness

TARGETS = [Target(topic="notifications")]


def transport(peer: str) -> messaging.Transport:
    return messaging.connect(
        f"memory://bus/{peer}", clock=VirtualClock(), random=seeded_randomness(peer)
    )


def on_bus(main):
    async def run():
        async with transport("one") as one, transport("two") as two:
            return await main(one, two)

    return run_virtual(run, 0)


async def take(listener: Listener, count: int) -> list[messaging.Incoming]:
    found = []
    async with asyncio.timeout(60):
        async for message in listener:
            await message.acknowledge()
            found.append(message)
            if len(found) == count:
                break
    return found


def test_event_arrives_with_all_its_fields_and_no_secret() -> None:
    async def main(one, two):
        context = {"request_id": "req-1", "project_id": "p", "auth_token": "secret", "x": 1}
        await Notifier(one, "images.h1").info(context, "image.create", {"id": 1})
        (found,) = await take(Listener(two, TARGETS), 1)
        assert found.publisher_id == "images.h1"
        assert found.event_type == "image.create"
        assert found.priority == "info"
        assert found.payload == {"id": 1}
        assert found.timestamp == "2026-01-01 00:00:00.000000"
        assert found.context == {"request_id": "req-1", "project_id": "p"}

    on_bus(main)


def test_event_waits_for_a_listener_and_the_queue_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr("transom.messaging.drivers.memory.QUEUE_MAX", 5)

    async def main(one, two):
        notifier = Notifier(one, "p")
        for number in range(8):
            await notifier.info({}, "e", number)
        await asyncio.sleep(1000)
        found = await take(Listener(two, TARGETS), 5)
        assert [message.payload for message in found] == [3, 4, 5, 6, 7]

    on_bus(main)


def test_listener_gets_only_the_priorities_it_asked_for() -> None:
    async def main(one, two):
        async with Listener(two, TARGETS, priorities=["error", "warn"]) as listener:
            notifier = Notifier(one, "p")
            for priority in ("audit", "debug", "info", "warn", "error", "critical", "sample"):
                await getattr(notifier, priority)({}, "e", priority)
            found = await take(listener, 2)
            assert {message.payload for message in found} == {"warn", "error"}

    on_bus(main)


def test_message_that_is_requeued_or_left_comes_again() -> None:
    async def main(one, two):
        await Notifier(one, "p").info({}, "e", 1)
        async with Listener(two, TARGETS) as listener:
            message = await anext(listener)
            await message.requeue()
            assert (await anext(listener)).payload == 1
        assert [m.payload for m in await take(Listener(one, TARGETS), 1)] == [1]

    on_bus(main)


def test_each_pool_gets_a_copy() -> None:
    async def main(one, two):
        async with Listener(one, TARGETS) as plain, Listener(two, TARGETS, pool="audit") as audit:
            await Notifier(one, "p").info({}, "e", 1)
            assert [m.payload for m in await take(plain, 1) + await take(audit, 1)] == [1, 1]

    on_bus(main)


def test_several_topics_get_each_event() -> None:
    async def main(one, two):
        bodies = []
        send = one.driver.send
        one.driver.send = lambda address, body, *rest, **options: (
            bodies.append(body),
            send(address, body, *rest, **options),
        )
        await Notifier(one, "p", topics=["a", "b"]).info({}, "e", 1)
        found = await take(Listener(two, [Target(topic="a"), Target(topic="b")]), 2)
        assert [message.payload for message in found] == [1, 1]
        ids = {decode_notification(body).unique_id for body in bodies}
        assert len(ids) == 2, "who listens to both takes a second message of one id for a copy"

    on_bus(main)


def test_a_topic_that_is_not_taken_keeps_no_other_from_the_event() -> None:
    async def main(one, two):
        send = one.driver.send

        def refuse(address, body, sent, **options):
            if address.name == "a":
                sent(MessageDeliveryFailure("no"))
            else:
                send(address, body, sent, **options)

        one.driver.send = refuse
        notifier = Notifier(one, "p", topics=["a", "b"])
        await notifier.info({}, "e", 1)
        with pytest.raises(MessageDeliveryFailure):
            await notifier.notify("info", {}, "e", 2, confirm=True)
        found = await take(Listener(two, [Target(topic="b")]), 2)
        assert [message.payload for message in found] == [1, 2]

    on_bus(main)


def test_listener_whose_start_failed_can_be_started() -> None:
    async def main(one, two):
        ours = transport("three")
        listener = Listener(ours, TARGETS)
        with pytest.raises(MessageDeliveryFailure):
            await listener.start()
        async with ours:
            await Notifier(one, "p").info({}, "e", 1)
            assert [message.payload for message in await take(listener, 1)] == [1]

    on_bus(main)


def test_failing_notification_is_logged_unless_confirmed(caplog) -> None:
    async def main(one, two):
        notifier = Notifier(one, "p")
        await notifier.info({}, "e", object())
        assert "notification not sent" in caplog.text
        await one.stop()
        await notifier.info({}, "e", 1)
        with pytest.raises(MessageDeliveryFailure):
            await notifier.info({}, "e", 1, confirm=True)

    on_bus(main)


def test_unreadable_event_is_dropped_and_the_next_arrives(caplog) -> None:
    async def main(one, two):
        address = Address(Kind.NOTIFICATION, "notifications", "info")
        deadline_s = asyncio.get_running_loop().time() + 1
        await one.send(address, b"\xff", deadline_s=deadline_s)
        await Notifier(one, "p", bare=True).info({}, "e", 1)
        assert [m.payload for m in await take(Listener(two, TARGETS), 1)] == [1]

    on_bus(main)
    assert "unreadable notification dropped" in caplog.text


def test_iteration_ends_with_the_transport() -> None:
    async def main(one, two):
        listening = asyncio.ensure_future(take(Listener(two, TARGETS), 1))
        await asyncio.sleep(1)
        await two.stop()
        assert await listening == []

    on_bus(main)


@pytest.mark.parametrize(
    ("targets", "options", "error"),
    [
        ([], {}, InvalidTarget),
        ([Target(server="h")], {}, InvalidTarget),
        (TARGETS, {"priorities": ["loud"]}, ValueError),
        (TARGETS, {"priorities": []}, ValueError),
    ],
)
def test_listener_refuses_what_it_cannot_serve(targets, options, error) -> None:
    with pytest.raises(error):
        Listener(messaging.connect("memory://"), targets, **options)


def test_application_is_told_of_partitions_and_gaps() -> None:
    async def main(one, two):
        events = one.events()
        bus = MemoryBus.named("bus")
        bus.cut("one", "two")
        bus.heal()
        assert [await anext(events) for _ in range(3)] == [
            Disconnected("two", "partition"),
            Gap("two"),
            Connected("two"),
        ]
        await one.stop()
        assert [event async for event in events] == []

    on_bus(main)


def test_events_that_nobody_reads_collapse_into_one_gap() -> None:
    async def main(one, two):
        events = one.events()
        bus = MemoryBus.named("bus")
        for _ in range(EVENTS_MAX // 3):
            bus.cut("one", "two")
            bus.heal()
        assert len([await anext(events) for _ in range(EVENTS_MAX - 1)]) == EVENTS_MAX - 1
        for _ in range(EVENTS_MAX):
            bus.cut("one", "two")
        bus.heal()
        assert await anext(events) == Gap("")

    on_bus(main)


def test_batches_end_when_full_or_after_their_wait_and_keep_order() -> None:
    async def main() -> None:
        async with transport("a") as ours, transport("b") as theirs:
            notifier = Notifier(ours, "p")
            async with Listener(theirs, [Target(topic="notifications")], prefetch=5) as listener:
                for number in range(7):
                    await notifier.info({}, "e", number)
                batches = listener.batches(5, 2.0)
                first = await anext(batches)
                assert [message.payload for message in first] == [0, 1, 2, 3, 4]
                for message in first:
                    await message.acknowledge()
                began_s = asyncio.get_running_loop().time()
                rest = await anext(batches)
                assert [message.payload for message in rest] == [5, 6]
                assert asyncio.get_running_loop().time() - began_s == pytest.approx(2.0, abs=0.01)
                with pytest.raises(ValueError, match="from 1 to the prefetch, which is 5"):
                    await anext(listener.batches(6, 1.0))
            assert [batch async for batch in batches] == []

    run_virtual(main, 1)


def test_what_was_acknowledged_is_not_handed_out_again_though_a_copy_comes() -> None:
    async def main(ours: messaging.Transport, theirs: messaging.Transport) -> None:
        sent: list[tuple[Address, bytes]] = []
        send = ours.driver.send
        ours.driver.send = lambda address, body, *rest, **options: (
            sent.append((address, body)),
            send(address, body, *rest, **options),
        )
        async with Listener(theirs, TARGETS) as listener:
            notifier = Notifier(ours, "p")
            await notifier.info({}, "first", {})
            message = await anext(listener)
            address, body = sent[0]
            until_s = asyncio.get_running_loop().time() + 60
            await ours.send(address, body, deadline_s=until_s)  # before it is settled: handed out
            copy = await anext(listener)
            assert copy.event_type == "first"
            await copy.requeue()
            await message.acknowledge()
            await ours.send(address, body, deadline_s=until_s)  # after it: dropped
            await notifier.info({}, "second", {})
            assert [one.event_type for one in await take(listener, 1)] == ["second"]
            outcomes = theirs.counters.heard["notifications"].outcomes
            assert outcomes == {"acknowledged": 2, "requeued": 1, "duplicate": 2}

    on_bus(main)
