# SPDX-License-Identifier: Apache-2.0
"""Looks for what is to be sent, and has it sent: a line a subscription, so many at a time.

A line runs by itself, from its first notice to its last or to a failure. What is asked of
subscribers (to confirm) goes the same way, beside the line.

Invariants:
1. At most one task works for a subscription's line, and one for its question.
2. A look begins where the last one broke off, so no queue is passed over for long.
3. Each database is looked at by itself; one that does not answer holds up its own queues alone.
4. Stopping takes no more work, gives what is under way `DRAIN_S`, and writes down how far it is.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable
from typing import Any

import msgspec

from transom.errors import ConfigError, TransomError
from transom.queue.app.access import Access
from transom.queue.app.signing import Signing
from transom.queue.deliveries.line import Given, LineWorker
from transom.queue.deliveries.parcel import Carrier, Parcel
from transom.queue.logic import delivery, notification, retries
from transom.queue.logic.delivery import Again
from transom.queue.logic.subscriptions import destination
from transom.queue.model import MessageId, Notice, Place
from transom.queue.store import notices, subscriptions
from transom.queue.store.notices import Line
from transom.queue.store.stores import Store
from transom.queue.store.subscriptions import SECRET_PURPOSE
from transom.queue.store.verbs.deliveries import SettleAsked, Trim
from transom.runtime.clock import Clock
from transom.runtime.sealing import Sealer

log = logging.getLogger(__name__)

LOOK_S = 0.5
"""Where nobody tells us of a post."""
LEAST_PAUSE_S = 0.02
"""Between two looks, however often we are told."""
DRAIN_S = 2.5
"""A notice that takes longer is sent again by whoever goes on."""
PAUSE_S = 1.0
PLACES_AT_ONCE = 200
LINES_AT_ONCE = 200
READ_AT_ONCE, READ_BYTES = 32, 262_144
"""Of one line, which holds them until they are sent. A larger one is read by itself."""
TASKS_PER_SLOT = 4
TRIM_BATCH = 1000
TRIM_EACH_S = 1.0
IDLE_TRIM_EACH_S = 30.0
FAILING_SHARE = 4
"""One slot of so many is for those whose last try failed."""

_Key = tuple[Place, MessageId, bool]


class Deliverer:
    """A lifecycle service. `by_http`, `by_mail`: who carries; `endpoint`: of the queue's mount, as
    subscribers reach it; `websocket`: of its WebSocket."""

    def __init__(
        self,
        access: Access,
        signing: Signing,
        sealer: Sealer | None,
        by_http: Carrier,
        by_mail: Carrier,
        clock: Clock,
        *,
        endpoint: str,
        websocket: str,
    ) -> None:
        self._access = access
        self._signing = signing
        self._sealer = sealer
        self._by_http = by_http
        self._by_mail = by_mail
        self._clock = clock
        self._endpoint = endpoint
        self._websocket = websocket
        self._busy: dict[_Key, asyncio.Task[None]] = {}
        self._after: dict[str, Place] = {}
        self._trim_at_s: dict[tuple[str, Place], float] = {}
        self._looking: asyncio.Task[None] | None = None
        self._looks: dict[str, asyncio.Task[None]] = {}
        self._failing: set[str] = set()
        self._stopping = False
        self._woken = asyncio.Event()

    async def start(self) -> None:
        if self._looking is not None:
            return
        at_once = self._access.config.deliveries_at_once
        failing = max(1, at_once // FAILING_SHARE)
        self._tasks_most = at_once * TASKS_PER_SLOT
        self._slots = asyncio.Semaphore(max(1, at_once - failing))
        self._slots_of_failing = asyncio.Semaphore(failing)
        self._stopping = False
        await self._by_http.start()
        await self._by_mail.start()
        self._looking = asyncio.get_running_loop().create_task(self._keep_looking(), name="deliver")

    async def stop(self) -> None:
        """What is under way comes to its end, if that is soon. Idempotent."""
        await self._end(DRAIN_S)

    async def cut_off(self) -> None:
        """Stops at once: another may go on now. Idempotent."""
        await self._end(0)

    async def _end(self, drain_s: float) -> None:
        looking, self._looking = self._looking, None
        if looking is None:
            return
        self._stopping = True
        looks = [looking, *self._looks.values()]
        for task in looks:
            task.cancel()
        await asyncio.gather(*looks, return_exceptions=True)
        self._looks.clear()  # one that had not begun cannot say that it has ended
        if self._busy and drain_s:
            await asyncio.wait(list(self._busy.values()), timeout=drain_s)
        left = list(self._busy.values())
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._by_http.stop()
        await self._by_mail.stop()

    def wake(self, place: Place) -> None:
        """Something was posted there."""
        self._woken.set()

    async def _keep_looking(self) -> None:
        while True:
            self._woken.clear()
            for store in self._access.stores.every():
                if store.name not in self._looks:
                    look = self._look(store)
                    self._looks[store.name] = asyncio.get_running_loop().create_task(look)
            # One that does not answer keeps nobody else up.
            await asyncio.wait(list(self._looks.values()), timeout=LOOK_S)
            await asyncio.sleep(LEAST_PAUSE_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._woken.wait()

    async def _look(self, store: Store) -> None:
        about = {"store": store.name}
        try:
            await self._look_for_questions(store)
            await self._look_at_queues(store)
            self._failing.discard(store.name)
        except TransomError as error:
            if store.name not in self._failing:
                detail = error.detail or error.text
                log.warning("notices not looked for", extra={"detail": detail, **about})
            self._failing.add(store.name)
            await self._pause()
        except Exception:  # Safety: the next look may succeed, and notices wait on disk
            if store.name not in self._failing:
                log.exception("notices not looked for", extra=about)
            self._failing.add(store.name)
            await self._pause()
        finally:
            del self._looks[store.name]

    async def _look_for_questions(self, store: Store) -> None:
        found = await store.database.read(
            lambda tx: notices.asked(tx, self._clock.now_ms(), LINES_AT_ONCE)
        )
        for line in found:
            key = (line.place, line.subscription.id, True)
            if key not in self._busy and len(self._busy) < self._tasks_most:
                self._begin(key, self._ask(line))

    async def _look_at_queues(self, store: Store) -> None:
        after = self._after.pop(store.name, Place("", ""))
        while True:
            places = await self._places(store, after)
            for place in places:
                if len(self._busy) >= self._tasks_most:
                    self._after[store.name] = after
                    return
                await self._look_at(store, place)
                after = place
            if len(places) < PLACES_AT_ONCE:
                self._forget_gone()
                return
            await asyncio.sleep(0)

    async def _look_at(self, store: Store, place: Place) -> None:
        number = 0
        while True:
            lines = await self._due(store, place, number)
            for line in lines:
                number = line.subscription.id.sequence
                key = (line.place, line.subscription.id, False)
                if key not in self._busy and len(self._busy) < self._tasks_most:
                    self._begin(key, self._work_off(store, line))
            if len(lines) < LINES_AT_ONCE:
                break
        await self._trim(store, place)

    async def _due(self, store: Store, place: Place, after: int) -> list[Line]:
        return await store.database.read(
            lambda tx: notices.due(tx, self._clock.now_ms(), place, after, LINES_AT_ONCE)
        )

    async def _places(self, store: Store, after: Place) -> list[Place]:
        return await store.database.read(lambda tx: notices.places(tx, after, PLACES_AT_ONCE))

    def _begin(self, key: _Key, work: Awaitable[None]) -> None:
        task = asyncio.get_running_loop().create_task(self._noted(key, work))
        self._busy[key] = task

    async def _noted(self, key: _Key, work: Awaitable[None]) -> None:
        """Runs the work; what fails waits a little, so that nothing turns in circles."""
        place, subscription, _ = key
        about = {"queue": place.name, "subscription": str(subscription)}
        try:
            await work
        except TransomError as error:
            log.warning(
                "notices not delivered",
                extra={"detail": error.detail or error.text, **about},
            )
            await self._pause()
        except Exception:  # Safety: one subscription's fault must not end the others' deliveries
            log.exception("delivery failed", extra=about)
            await self._pause()
        finally:
            del self._busy[key]

    async def _pause(self) -> None:
        if not self._stopping:
            await asyncio.sleep(PAUSE_S)

    async def _work_off(self, store: Store, line: Line) -> None:
        given = Given(self._access, self._carrier(line), self._clock)
        worker = LineWorker(line, given, self._secret(line))
        slots = self._slots_of_failing if line.subscription.state.tries else self._slots
        while not self._stopping:
            async with slots:
                if self._stopping:
                    return
                read = await self._read(store, line, worker.position)
                more = bool(read) and await worker.work(read)
                self._trim_soon(store, line.place)
                if not more:
                    return
            slots = self._slots  # it goes well again
            await asyncio.sleep(0)  # who else waits for a slot has it first

    async def _read(self, store: Store, line: Line, position: int) -> list[Notice]:
        place, subscription = line.place, line.subscription.id
        return await store.database.read(
            lambda tx: notices.following(
                tx, place, subscription, position, READ_AT_ONCE, READ_BYTES
            )
        )

    async def _ask(self, line: Line) -> None:
        """Sends the question once, and writes down what came of it."""
        assert line.asked is not None  # it was found by it
        options: dict[str, Any] = msgspec.json.decode(line.subscription.options)
        document = self._question(line)
        parcel = Parcel(
            destination(line.subscription.subscriber),
            options,
            msgspec.json.encode(document),
            self._secret(line),
            {notification.SUBSCRIPTION_HEADER: str(line.subscription.id)},
            document,
        )
        async with self._slots_of_failing:
            outcome = await self._carrier(line).carry(parcel)
        policy = retries.policy_of(options.get(retries.KEY), None)
        now_ms = self._clock.now_ms()
        step = delivery.next_step(policy, line.asked_tries, outcome, now_ms)
        again = step if isinstance(step, Again) else None
        if outcome.error:
            log.info(
                "subscriber not asked to confirm",
                extra={
                    "queue": line.place.name,
                    "subscription": str(line.subscription.id),
                    "detail": outcome.error,
                },
            )
        await self._access.write(
            SettleAsked(
                line.place,
                line.subscription.id,
                line.subscription.expires_ms,
                line.asked,
                None if again is None else again.at_ms,
                0 if again is None else again.tries,
                outcome.error,
            )
        )

    def _question(self, line: Line) -> dict[str, Any]:
        subscription = line.subscription
        leaving = line.asked == subscriptions.ASKED_AFTER_LEAVING
        signed = self._signing.sign(
            line.place,
            [f"subscriptions/{subscription.id}/confirm"],
            ["PUT"],
            min(subscription.expires_ms, notification.LAST_MOMENT_MS),
        )
        return notification.confirmation(
            notification.UNSUBSCRIBED if leaving else notification.SUBSCRIBED,
            line.place.name,
            signed,
            self._endpoint,
            self._websocket,
        )

    def _carrier(self, line: Line) -> Carrier:
        mail = destination(line.subscription.subscriber).is_mail
        return self._by_mail if mail else self._by_http

    def _secret(self, line: Line) -> bytes | None:
        """Raises: ConfigError if it cannot be opened: then nothing is sent unsigned instead."""
        if line.secret is None:
            return None
        if self._sealer is None:
            raise ConfigError("the secret of a subscription is sealed, and there is no master key")
        return self._sealer.open(line.secret, SECRET_PURPOSE)

    async def _trim(self, store: Store, place: Place) -> None:
        """Now and then. Also where the queue is no more: then nobody is told of them any more."""
        now_s, key = self._clock.monotonic_s(), (store.name, place)
        if now_s < self._trim_at_s.get(key, now_s):
            return
        self._trim_at_s[key] = now_s + IDLE_TRIM_EACH_S
        while await store.writer.write(Trim(place, TRIM_BATCH)):
            pass

    def _trim_soon(self, store: Store, place: Place) -> None:
        key, soon_s = (store.name, place), self._clock.monotonic_s() + TRIM_EACH_S
        if key in self._trim_at_s:
            self._trim_at_s[key] = min(soon_s, self._trim_at_s[key])

    def _forget_gone(self) -> None:
        """Queues whose time has come, and that the look that has ended here did not find."""
        now_s = self._clock.monotonic_s()
        self._trim_at_s = {key: at_s for key, at_s in self._trim_at_s.items() if at_s > now_s}
