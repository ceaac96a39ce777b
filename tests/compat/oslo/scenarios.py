# SPDX-License-Identifier: Apache-2.0
"""What a service that uses oslo.messaging meets, one function a scenario; each raises if its claim
does not hold.

    python scenarios.py NAME ADDRESS [--eventlet]

Run by the Python of `.cache/oslo`. With `--eventlet` everything is patched first, as services do.
"""

import sys

if "--eventlet" in sys.argv:
    import eventlet

    eventlet.monkey_patch()

import json
import os
import queue
import socket
import threading
import time
import uuid

import oslo_messaging
from oslo_config import cfg
from oslo_messaging import Target

WAIT_S = 20
NAME = sys.argv[1] if len(sys.argv) > 1 else ""


def own(topic: str) -> str:
    """A topic of this scenario alone: others run on the same bus."""
    return f"{NAME}-{topic}" + ("-green" if "--eventlet" in sys.argv else "")


def new_conf(**rabbit: object) -> cfg.ConfigOpts:
    """A configuration of our own; the global one is not touched."""
    conf = cfg.ConfigOpts()
    conf([], project="scenario")
    if rabbit:
        from oslo_messaging._drivers import amqp, impl_rabbit

        conf.register_opts(impl_rabbit.rabbit_opts, group="oslo_messaging_rabbit")
        conf.register_opts(amqp.amqp_opts, group="oslo_messaging_rabbit")
        for name, value in rabbit.items():
            conf.set_override(name, value, group="oslo_messaging_rabbit")
    return conf


def rpc(url: str, conf: cfg.ConfigOpts | None = None, allowed: tuple[str, ...] = ()):
    return oslo_messaging.get_rpc_transport(conf or new_conf(), url, list(allowed))


def client(transport, topic: str, **options):
    options.setdefault("timeout", WAIT_S)
    target = options.pop("target", None) or Target(topic=own(topic))
    return oslo_messaging.get_rpc_client(transport, target, **options)


def serve(transport, topic: str, endpoint: object, server: str = "s"):
    made = oslo_messaging.get_rpc_server(
        transport, Target(topic=own(topic), server=server), [endpoint]
    )
    made.start()
    return made


def end(server) -> None:
    server.stop()
    server.wait()


def raises(kind: type[BaseException], function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except kind as error:
        return error
    raise AssertionError(f"nothing raised {kind.__name__}")


class Endpoint:
    def __init__(self) -> None:
        self.notes: queue.Queue = queue.Queue()

    def echo(self, ctxt, x):
        return x

    def context(self, ctxt):
        return ctxt

    def note(self, ctxt, x):
        self.notes.put(x)

    def nothing(self, ctxt):
        return None

    def work(self, ctxt, busy_s):
        time.sleep(busy_s)
        return busy_s

    def who(self, ctxt):
        return os.getpid()

    def fail(self, ctxt):
        raise KeyError("a", 2, None)

    def odd(self, ctxt):
        return {
            "when": __import__("datetime").datetime(2026, 1, 2),
            "set": {1},
            "id": uuid.UUID(int=5),
        }


def calls(url: str) -> None:
    """Values, contexts and failures come as from the stock driver."""
    transport = rpc(url)
    server = serve(transport, "t", Endpoint())
    caller = client(transport, "t")
    for value in (None, 0, "é\ud800", 2**70, [1.5, {"a": [None]}], ""):
        assert caller.call({}, "echo", x=value) == value
    assert caller.call({"user": "ada", "roles": ["r"]}, "context") == {
        "user": "ada", "roles": ["r"], "client_timeout": None,
    }  # fmt: skip
    assert caller.call({}, "nothing") is None
    odd = caller.call({}, "odd")
    assert odd == {"when": "2026-01-02T00:00:00.000000", "set": [1], "id": str(uuid.UUID(int=5))}
    failed = raises(KeyError, caller.call, {}, "fail")
    assert failed.args[1:] == (2, None)
    assert "Traceback" in failed.args[0]
    error = raises(oslo_messaging.RemoteError, caller.call, {}, "nowhere")
    assert error.exc_type == "NoSuchMethod"
    from oslo_messaging.rpc.dispatcher import NoSuchMethod

    allowing = rpc(url, allowed=("oslo_messaging.rpc.dispatcher",))
    error = raises(NoSuchMethod, client(allowing, "t").call, {}, "nowhere")
    assert type(error).__name__ == "NoSuchMethod_Remote"
    end(server)
    allowing.cleanup()
    transport.cleanup()
    assert not [one for one in threading.enumerate() if one.name == "transom-bus"]


def timeouts(url: str) -> None:
    """What is not answered raises oslo's exceptions, in time."""
    transport = rpc(url)
    server = serve(transport, "t", Endpoint())
    began_s = time.monotonic()
    raises(oslo_messaging.MessagingTimeout, client(transport, "t", timeout=1).call, {}, "work",
           busy_s=3)  # fmt: skip
    raises(oslo_messaging.MessagingTimeout, client(transport, "none", timeout=1).call, {}, "who")
    assert 2 <= time.monotonic() - began_s < WAIT_S  # what a client waits else
    once = oslo_messaging.TransportOptions(at_least_once=True)
    error = raises(oslo_messaging.MessageUndeliverable,
                   client(transport, "none", transport_options=once).call, {}, "who")  # fmt: skip
    assert (error.routing_key, error.exchange) == (own("none"), "openstack")
    raises(oslo_messaging.MessageUndeliverable,
           client(transport, "none", transport_options=once).cast, {}, "who")  # fmt: skip
    # It beats every two seconds, and a busy machine may make it late by as much.
    monitored = client(transport, "t", timeout=60, call_monitor_timeout=4)
    assert monitored.call({}, "work", busy_s=6) == 6
    end(server)
    transport.cleanup()


def heartbeats_end(url: str) -> None:
    """A monitored call of a method that is not there leaves no thread that beats for ever."""
    transport = rpc(url)
    server = serve(transport, "t", Endpoint())
    caller = client(transport, "t", call_monitor_timeout=2)
    for _ in range(10):
        raises(oslo_messaging.RemoteError, caller.call, {}, "nowhere")
    deadline_s = time.monotonic() + WAIT_S
    while beating := [one for one in threading.enumerate() if "_watchdog" in one.name]:
        assert time.monotonic() < deadline_s, beating
        time.sleep(0.1)
    end(server)
    transport.cleanup()


def dead_callers(url: str) -> None:
    """64 requests whose callers died do not hold the server."""
    from transom.messaging.drivers.base import Address, Kind

    transport = rpc(url)
    endpoint = Endpoint()
    server = serve(transport, "t", endpoint)
    engine = transport._driver._engine()
    gone = engine.thread.run(lambda: reply_q(engine), WAIT_S)
    for number in range(64):
        message = {"method": "who", "args": {}, "_msg_id": uuid.uuid4().hex, "_reply_q": gone,
                   "_unique_id": str(number), "_timeout": None}  # fmt: skip
        body = json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(message)}).encode()
        engine.hand_over(Address(Kind.TOPIC, own("t"), exchange="openstack"), body)
    began_s = time.monotonic()
    assert client(transport, "t").call({}, "who") == os.getpid()
    assert time.monotonic() - began_s < 2.0
    end(server)
    transport.cleanup()


async def reply_q(engine) -> str:
    """A name of the form that the bus gives, of nobody."""
    name = engine._driver.reply_address().name
    return name[:-8] + "00000000"


def casts_wait(url: str) -> None:
    """A cast to a topic whose server is away for a moment is carried out when it is back."""
    transport = rpc(url)
    endpoint = Endpoint()
    end(serve(transport, "t", endpoint))
    caller = client(transport, "t")
    for number in range(5):
        caller.cast({}, "note", x=number)
    caller.prepare(server="s").cast({}, "note", x=5)
    time.sleep(1.5)
    server = serve(transport, "t", endpoint)
    assert sorted(endpoint.notes.get(timeout=WAIT_S) for _ in range(6)) == list(range(6))
    end(server)
    transport.cleanup()


def stop_is_clean(url: str) -> None:
    """What a server has begun is answered; what it has not begun another one gets."""
    transport = rpc(url)
    server = serve(transport, "t", Endpoint())
    caller = client(transport, "t")
    answers: queue.Queue = queue.Queue()

    def ask() -> None:
        answers.put(caller.call({}, "work", busy_s=1.5))

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for one in asking:
        one.start()
    time.sleep(0.5)
    end(server)
    for one in asking:
        one.join(WAIT_S)
    assert [answers.get_nowait() for _ in asking] == [1.5] * 4
    server.start()
    assert caller.call({}, "who") == os.getpid()
    end(server)
    transport.cleanup()


def new_hub() -> None:
    """As oslo.service does in each worker: eventlet's poll set would be shared with the parent."""
    if "--eventlet" in sys.argv:
        eventlet.hubs.use_hub()


def forks(url: str) -> None:
    """Workers forked after the transport was used have connections of their own."""
    transport = rpc(url)
    server = serve(transport, "t", Endpoint(), "parent")
    caller = client(transport, "t")
    assert caller.call({}, "who") == os.getpid()
    mine = transport._driver._engine()._reply_q
    children = []
    for _ in range(3):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                new_hub()
                for _ in range(20):
                    assert caller.call({}, "who") == os.getppid()
                    caller.cast({}, "note", x=1)
                os.write(writing, transport._driver._engine()._reply_q.encode())
                transport.cleanup()
                os._exit(0)
            except BaseException:
                import traceback

                traceback.print_exc()
                os._exit(1)
        os.close(writing)
        children.append((child, reading))
    for _ in range(50):
        assert caller.call({}, "who") == os.getpid()
    deadline_s = time.monotonic() + 2 * WAIT_S
    queues = {mine}
    for child, reading in children:
        while (status := os.waitpid(child, os.WNOHANG)) == (0, 0):
            assert time.monotonic() < deadline_s, "a child hangs"
            time.sleep(0.05)
        assert status[1] == 0
        queues.add(os.read(reading, 1000).decode())
    assert len(queues) == 4, "reply queues are each process's own"
    assert caller.call({}, "who") == os.getpid()
    end(server)
    transport.cleanup()


def fork_before_use(url: str) -> None:
    """A transport that was only made has no thread and no connection: forking is free."""
    transport = rpc(url)
    assert threading.active_count() == 1
    child = os.fork()
    if child == 0:
        server = serve(transport, "t", Endpoint())
        ok = client(transport, "t").call({}, "who") == os.getpid()
        end(server)
        transport.cleanup()
        os._exit(0 if ok else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert threading.active_count() == 1


class Notes:
    def __init__(self, *, refuse: int = 0) -> None:
        self.found: queue.Queue = queue.Queue()
        self._refuse = refuse

    def info(self, ctxt, publisher_id, event_type, payload, metadata):
        self.found.put((event_type, payload, ctxt.get("user")))
        if self._refuse:
            self._refuse -= 1
            return oslo_messaging.NotificationResult.REQUEUE
        return oslo_messaging.NotificationResult.HANDLED


def listen(transport, endpoint: Notes, **options):
    made = oslo_messaging.get_notification_listener(
        transport, [Target(topic=own("n"))], [endpoint], **options
    )
    made.start()
    return made


def notifications(url: str) -> None:
    """Both formats arrive, each pool gets its copy, what is requeued comes again."""
    transport = oslo_messaging.get_notification_transport(new_conf(), url)
    plain, pooled = Notes(refuse=1), Notes()
    listeners = [listen(transport, plain, allow_requeue=True), listen(transport, pooled, pool="p")]
    for driver in ("messaging", "messagingv2"):
        notifier = oslo_messaging.Notifier(transport, "pub", driver=driver, topics=[own("n")])
        notifier.info({}, driver, {"n": 1})
        notifier.debug({}, "nobody implements this", {})
    events = [plain.found.get(timeout=WAIT_S)[0] for _ in range(3)]
    assert sorted(events) in (["messaging", "messaging", "messagingv2"],
                              ["messaging", "messagingv2", "messagingv2"])  # fmt: skip
    assert [pooled.found.get(timeout=WAIT_S)[0] for _ in range(2)] == ["messaging", "messagingv2"]
    for one in listeners:
        end(one)
    transport.cleanup()


def unsettled(url: str) -> None:
    """Notifications that a listener had not handled when it stopped go to the next one."""
    transport = oslo_messaging.get_notification_transport(new_conf(), url)
    first = Notes()
    going, held = threading.Event(), threading.Event()
    taken = first.info

    def slow(*args):
        held.set()
        assert going.wait(WAIT_S)
        return taken(*args)

    first.info = slow
    conf = new_conf()
    listener = oslo_messaging.get_notification_listener(
        oslo_messaging.get_notification_transport(conf, url), [Target(topic=own("n"))], [first]
    )
    listener.start(override_pool_size=1)
    notifier = oslo_messaging.Notifier(transport, "pub", driver="messagingv2", topics=[own("n")])
    for number in range(3):
        notifier.info({}, "e", number)
    assert held.wait(WAIT_S)
    second = Notes()
    other = listen(transport, second)
    threading.Timer(0.3, going.set).start()
    end(listener)
    done = [first.found.get_nowait()[1] for _ in range(first.found.qsize())]
    notifier.info({}, "e", 3)
    rest = []
    while len(done) + len(rest) < 4:
        rest.append(second.found.get(timeout=WAIT_S)[1])
    assert sorted(done + rest) == [0, 1, 2, 3], (done, rest)
    end(other)
    transport.cleanup()


def many_threads(url: str) -> None:
    """64 threads share two transports of one process."""
    from concurrent.futures import ThreadPoolExecutor

    one, other = rpc(url), rpc(url)
    server = serve(one, "t", Endpoint())
    callers = [client(one, "t"), client(other, "t")]
    with ThreadPoolExecutor(64) as threads:
        found = list(threads.map(lambda n: callers[n % 2].call({}, "echo", x=n), range(1000)))
    assert found == list(range(1000))
    end(server)
    one.cleanup()
    other.cleanup()


def no_broker(url: str) -> None:
    """Without a broker `retry` and timeouts are kept."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    transport = rpc(f"transom+rabbit://guest:guest@127.0.0.1:{port}/")
    began_s = time.monotonic()
    raises(oslo_messaging.MessageDeliveryFailure, client(transport, "t", retry=0).cast, {}, "who")
    raises(oslo_messaging.MessageDeliveryFailure, client(transport, "t", retry=1).cast, {}, "who")
    raises(oslo_messaging.MessageDeliveryFailure, client(transport, "t", retry=0).call, {}, "who")
    raises(oslo_messaging.MessagingTimeout, client(transport, "t", timeout=1).call, {}, "who")
    assert time.monotonic() - began_s < 15
    transport.cleanup()


def refused(url: str) -> None:
    """To listen at an address that the broker refuses fails, and says why; a bus that is away would
    be waited for."""
    from oslo_messaging._drivers.base import TransportDriverError

    transport = rpc(url)
    began_s = time.monotonic()
    # Not by a server: oslo.messaging 18.3.1 itself stumbles over an error of listening.
    target = Target(topic="amq.reserved", server="s")
    error = raises(TransportDriverError, transport._listen, target, 1, None)
    assert "ACCESS_REFUSED" in str(error), error
    assert time.monotonic() - began_s < 15
    end(serve(transport, "allowed", Endpoint()))
    transport.cleanup()


def options(url: str) -> None:
    """[oslo_messaging_rabbit] reaches the driver; what the address says wins."""
    from transom.messaging.drivers.rabbit.options import Options
    from transom.messaging.oslo_driver.settings import settings_of

    conf = new_conf(rabbit_quorum_queue=True, heartbeat_timeout_threshold=17,
                    rabbit_qos_prefetch_count=9,
                    ssl_ca_file="/ignored/without/ssl")  # fmt: skip
    text = "transom+rabbit://a:b%40@h1:1,c:d@[::1]:2/v%2Fh?heartbeat_timeout_threshold=5"
    found = settings_of(conf, oslo_messaging.TransportURL.parse(conf, text))
    read = Options.of(found.url)
    assert (read.rabbit_quorum_queue, read.heartbeat_timeout_threshold) == (True, 5)
    assert (found.prefetch, found.url.vhost) == (9, "v/h")
    assert [str(host) for host in found.url.hosts] == ["a:b%40@h1:1", "c:d@[::1]:2"]
    assert found.bound_s(0) == 2.0
    assert found.bound_s(3) == 2.0 + 1 + 3 + 5
    assert found.bound_s(None) is None
    assert found.bound_s(-1) is None
    for wrong in ("transom://h", "transom+rabbit://h/?no_such_option=1"):
        raises(oslo_messaging.InvalidTransportURL, rpc, wrong)
    assert "oslo_messaging_rabbit" not in cfg.CONF


def stock_peers(url: str) -> None:
    """Ours and the stock driver take each other's places, compressed messages too."""
    stock_url = url.removeprefix("transom+")
    conf = new_conf(kombu_compression="gzip")
    from oslo_messaging import conffixture

    conffixture.ConfFixture(conf)
    stock, ours = rpc(stock_url, conf), rpc(url)
    for serving, calling in ((stock, ours), (ours, stock)):
        server = serve(serving, "peers", Endpoint())
        caller = client(calling, "peers", call_monitor_timeout=2)
        assert caller.call({"user": "ada"}, "context")["user"] == "ada"
        assert caller.call({}, "work", busy_s=3) == 3
        assert raises(KeyError, caller.call, {}, "fail").args[1:] == (2, None)
        end(server)
    stock.cleanup()
    ours.cleanup()


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2])
    print("holds", flush=True)
