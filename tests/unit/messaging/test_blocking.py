# SPDX-License-Identifier: Apache-2.0
"""The blocking face over memory://: what callers without a loop get, from one thread or many."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from transom import messaging
from transom.errors import (
    MessageDeliveryFailure,
    MessageUndeliverable,
    MessagingError,
    MessagingTimeout,
    NoSuchMethod,
    NotFound,
    RemoteError,
)
from transom.messaging import Target, blocking, loop_thread
from transom.messaging.proto.feed import ChangeSet, Live
from transom.messaging.tables import MemoryFeed, TablePublisher

TARGET = Target(topic="work", server="s")


class Work:
    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.began = threading.Semaphore(0)
        self.casts: list[int] = []

    def echo(self, context: object, value: object) -> object:
        return [context, value]

    def where(self, context: object) -> str:
        return threading.current_thread().name

    def wait(self, context: object) -> str:
        self.began.release()
        assert self.go_on.wait(20)
        return "waited"

    def note(self, context: object, n: int) -> None:
        self.casts.append(n)

    def refuse(self, context: object) -> None:
        raise NotFound("no such thing")

    def fail(self, context: object) -> None:
        raise KeyError("what")


@pytest.fixture
def transport() -> Iterator[blocking.Transport]:
    with blocking.connect("memory://blocking") as transport:
        yield transport
    assert not [one for one in threading.enumerate() if one.name == "transom-bus"]


@pytest.fixture
def work(transport: blocking.Transport) -> Iterator[Work]:
    work = Work()
    with blocking.Server(transport, TARGET, [work]):
        yield work
        work.go_on.set()


@pytest.fixture
def client(transport: blocking.Transport, work: Work) -> blocking.Client:
    return blocking.Client(transport, Target(topic="work"), timeout_s=20)


def test_it_is_there_by_its_name_and_loads_on_first_use() -> None:
    code = "import sys; from transom import messaging; assert 'asyncio' not in sys.modules; "
    subprocess.run([sys.executable, "-c", code + "messaging.blocking.connect"], check=True)
    assert messaging.blocking is blocking


def test_a_call_is_answered_by_a_thread_of_the_server(client: blocking.Client) -> None:
    assert client.call({"user": "ada"}, "echo", value=1) == [{"user": "ada"}, 1]
    assert client.call({}, "where").startswith("transom-endpoint")


def test_errors_come_back_as_they_do_on_a_loop(client: blocking.Client) -> None:
    with pytest.raises(NotFound, match="no such thing"):
        client.call({}, "refuse")
    with pytest.raises(RemoteError) as failed:
        client.call({}, "fail")
    assert failed.value.exc_type == "KeyError"
    with pytest.raises(NoSuchMethod):
        client.call({}, "nothing")


def test_nobody_there_is_told_at_once_and_silence_by_the_timeout(client: blocking.Client) -> None:
    with pytest.raises(MessageUndeliverable):
        client.to(topic="nobody").call({}, "echo", value=1)
    began_s = time.monotonic()
    with pytest.raises(MessagingTimeout):
        client.to(timeout_s=0.2).call({}, "wait")
    assert 0.2 <= time.monotonic() - began_s < 2.0


def test_many_threads_share_one_transport(client: blocking.Client, work: Work) -> None:
    with ThreadPoolExecutor(32) as threads:
        answers = list(threads.map(lambda n: client.call({}, "echo", value=n), range(500)))
    assert answers == [[{}, n] for n in range(500)]


def test_blocking_endpoints_run_side_by_side(client: blocking.Client, work: Work) -> None:
    with ThreadPoolExecutor(8) as threads:
        waiting = [threads.submit(client.call, {}, "wait") for _ in range(8)]
        for _ in waiting:
            assert work.began.acquire(timeout=20)
        assert client.call({}, "echo", value=1) == [{}, 1]
        work.go_on.set()
        assert [one.result() for one in waiting] == ["waited"] * 8


def test_stop_carries_out_what_was_taken(transport: blocking.Transport) -> None:
    work = Work()
    client = blocking.Client(transport, Target(topic="work"), timeout_s=20)
    with ThreadPoolExecutor(1) as threads:
        with blocking.Server(transport, TARGET, [work]):
            answer = threads.submit(client.call, {}, "wait")
            assert work.began.acquire(timeout=20)
            threading.Timer(0.05, work.go_on.set).start()
        assert answer.result() == "waited"


def test_casts_reach_every_server_of_the_topic(
    transport: blocking.Transport, client: blocking.Client, work: Work
) -> None:
    other = Work()
    with blocking.Server(transport, Target(topic="work", server="t"), [other]):
        client.to(fanout=True).cast({}, "note", n=7)
        client.to(server="s").call({}, "echo", value=0)
    assert other.casts == [7]
    assert work.casts == [7]


def test_a_stopped_transport_ends_calls_that_wait(work: Work) -> None:
    other = blocking.connect("memory://blocking")
    other.start()
    client = blocking.Client(other, Target(topic="work"), timeout_s=20)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(client.call, {}, "wait")
        assert work.began.acquire(timeout=20)
        other.stop()
        with pytest.raises(MessageDeliveryFailure):
            waiting.result(timeout=5)
    with pytest.raises(blocking.Ended, match="enter it with"):
        client.call({}, "echo", value=1)
    other.stop()


def test_notifications_are_iterated_and_what_is_not_settled_comes_again(
    transport: blocking.Transport,
) -> None:
    notifier = blocking.Notifier(transport, "images.host1")
    targets = [Target(topic="notifications")]
    with blocking.Listener(transport, targets) as listener:
        for number in range(3):
            notifier.info({"user_id": "ada"}, "image.create", {"n": number})
        first = next(listener)
        assert (first.context, first.priority) == ({"user_id": "ada"}, "info")
        first.acknowledge()
        next(listener).requeue()
    with blocking.Listener(transport, targets) as listener:
        found = []
        for message in listener:
            found.append(message.payload["n"])
            message.acknowledge()
            if len(found) == 2:
                break
        assert sorted(found) == [1, 2]
        with pytest.raises(MessagingTimeout):
            listener.receive(0.05)


def test_stop_ends_the_iteration_of_another_thread(transport: blocking.Transport) -> None:
    listener = blocking.Listener(transport, [Target(topic="notifications")])
    listener.start()
    with ThreadPoolExecutor(1) as threads:
        rest = threads.submit(list, listener)
        time.sleep(0.05)
        listener.stop()
        assert rest.result(timeout=10) == []


def test_a_replica_is_iterated(transport: blocking.Transport) -> None:
    feed = MemoryFeed(epoch=1, tables=["lab:hosts"])
    feed.replace({"lab:hosts": {("host1",): {"state": "up"}}})
    publisher = TablePublisher(transport.inner, "lab", feed)
    transport.run(publisher.start, 10)
    with blocking.TableReplica(transport, "lab", ["lab:hosts"]) as replica:
        first = next(replica)
        assert isinstance(first, ChangeSet)
        assert [(change.key, change.row) for change in first.changes] == [
            (("host1",), {"state": "up"})
        ]
        assert isinstance(next(replica), Live)
        assert isinstance(replica.state, Live)
        with pytest.raises(MessagingTimeout):
            replica.receive(0.05)
    assert list(replica) == []


def test_links_are_told_of(transport: blocking.Transport) -> None:
    events = transport.events()
    inner = transport.inner

    async def report() -> None:
        inner._report(messaging.Gap(peer="p"))

    transport.run(report, 5)
    assert next(events) == messaging.Gap(peer="p")
    with ThreadPoolExecutor(1) as threads:
        rest = threads.submit(list, events)
        transport.stop()
        assert rest.result(timeout=10) == []
    transport.start()


def test_transports_of_one_process_share_a_thread() -> None:
    with blocking.connect("memory://a"), blocking.connect("memory://b"):
        names = [one.name for one in threading.enumerate()]
        assert names.count("transom-bus") == 1
    assert "transom-bus" not in [one.name for one in threading.enumerate()]


def test_a_failed_start_leaves_no_thread() -> None:
    with pytest.raises(MessagingError):
        blocking.connect("zmq:///no/such/folder").start()
    assert "transom-bus" not in [one.name for one in threading.enumerate()]


FORKED = """
import os, sys
from transom.messaging import Target, blocking
class Work:
    def who(self, context):
        return os.getpid()
def ask():
    with blocking.connect("memory://f") as transport:
        with blocking.Server(transport, Target(topic="w", server="s"), [Work()]):
            return blocking.Client(transport, Target(topic="w"), timeout_s=10).call({}, "who")
with blocking.connect("memory://f") as transport:
    with blocking.Server(transport, Target(topic="w", server="s"), [Work()]):
        client = blocking.Client(transport, Target(topic="w"), timeout_s=10)
        assert client.call({}, "who") == os.getpid()
        child = os.fork()
        if child == 0:
            try:
                client.call({}, "who")
                os._exit(1)
            except blocking.Ended as error:
                assert "connect in the child" in str(error)
            assert ask() == os.getpid()
            transport.stop()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert client.call({}, "who") == os.getpid()
"""


def test_a_child_after_a_fork_connects_anew_and_the_parent_goes_on() -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], check=True, timeout=60)


INTERRUPTED = """
import sys, threading
from transom.messaging import Target, blocking
class Work:
    def wait(self, context):
        print("began", flush=True)
        threading.Event().wait(1)
async def settle():
    await __import__("asyncio").sleep(0)
with blocking.connect("memory://i") as transport:
    with blocking.Server(transport, Target(topic="w", server="s"), [Work()]):
        try:
            blocking.Client(transport, Target(topic="w"), timeout_s=60).call({}, "wait")
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        transport.run(settle, 5)
        print(len(transport.inner.calls), flush=True)
print("ended", flush=True)
"""


def test_ctrl_c_ends_a_call_and_nothing_is_left() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "began\n"
        os.kill(process.pid, signal.SIGINT)
        assert process.stdout.read() == "interrupted\n0\nended\n"
        assert process.wait(30) == 0


class Interrupted(loop_thread.LoopThread):
    """Ctrl-C comes while the first thing is posted: before the loop is woken, or after."""

    woken = False
    first = True

    def post(self, callback: Callable[..., object], *args: object) -> None:
        if not self.first:
            super().post(callback, *args)
            return
        self.first = False
        if self.woken:
            super().post(callback, *args)
        else:
            self._posted.append((callback, args))
            self._waking = True
        raise KeyboardInterrupt


@pytest.mark.parametrize("woken", [False, True])
def test_ctrl_c_before_the_wait_leaves_nothing_either(woken: bool) -> None:
    thread = loop_thread.acquire(Interrupted)
    assert isinstance(thread, Interrupted)
    thread.woken = woken
    begun = threading.Event()
    ended = threading.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    try:
        with pytest.raises(KeyboardInterrupt):
            thread.run(work, 60)
        thread.run(_nothing, 10)
        assert ended.wait(10) or not begun.is_set()
    finally:
        loop_thread.release(thread)


def test_what_is_posted_from_many_threads_runs_in_each_ones_order() -> None:
    thread = loop_thread.acquire()
    try:
        ran: list[tuple[int, int]] = []

        def posting(who: int) -> None:
            for n in range(2000):
                thread.post(ran.append, (who, n))

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(posting, range(8)))
        thread.run(_nothing, 10)
        assert len(ran) == 16_000
        for who in range(8):
            assert [n for w, n in ran if w == who] == list(range(2000))
    finally:
        loop_thread.release(thread)
    with pytest.raises(blocking.Ended):
        thread.post(print)


async def _nothing() -> None:
    """Comes after what was posted before."""


def test_a_blocking_call_on_the_loop_itself_is_refused() -> None:
    thread = loop_thread.acquire()

    async def ask() -> None:
        thread.run(_nothing, 1)

    try:
        with pytest.raises(RuntimeError, match="wait for itself"):
            thread.run(ask, 10)
    finally:
        loop_thread.release(thread)
