# SPDX-License-Identifier: Apache-2.0
"""oslo.messaging as contender: `oslo_peer.py serve|call URL [TOPIC SERVER]`."""

import sys
import threading
import time
import warnings

from lines import Counter, serve, summary

warnings.simplefilter("ignore")
import oslo_messaging  # noqa: E402
from oslo_config import cfg  # noqa: E402

CONTEXT = {"request_id": "req-1", "user": "u"}
CONF = cfg.CONF
CONF([], project="bench")


class Endpoint:
    def __init__(self, counter):
        self._counter = counter

    def echo(self, context, x):
        return x

    def count(self, context, x):
        self._counter.add()

    def sleep(self, context, seconds):
        time.sleep(seconds)


def start_server(url, topic, name):
    """Commands of a started server."""
    counter = Counter()
    transport = oslo_messaging.get_rpc_transport(CONF, url=url)
    target = oslo_messaging.Target(topic=topic, server=name)
    oslo_messaging.get_rpc_server(transport, target, [Endpoint(counter)]).start()

    def listen(listen_topic):
        """A listener that counts."""
        notify = oslo_messaging.get_notification_transport(CONF, url=url)

        class Heard:
            def info(self, context, publisher_id, event_type, payload, metadata):
                counter.add()

        oslo_messaging.get_notification_listener(
            notify, [oslo_messaging.Target(topic=listen_topic)], [Heard()]
        ).start()

    return {"told": counter.told, "reset": counter.reset, "listen": listen}


class Caller:
    """Commands of a client."""

    def __init__(self, url):
        self._url = url
        self._transport = oslo_messaging.get_rpc_transport(CONF, url=url)
        self._clients = {}

    def _client(self, topic, fanout=False, timeout=60.0, mandatory=False):
        key = (topic, fanout, timeout, mandatory)
        if key not in self._clients:
            target = oslo_messaging.Target(topic=topic, fanout=fanout)
            options = oslo_messaging.TransportOptions(at_least_once=mandatory)
            self._clients[key] = oslo_messaging.get_rpc_client(
                self._transport, target, timeout=timeout, transport_options=options
            )
        return self._clients[key]

    def calls(self, topic, callers, seconds, x):
        client = self._client(topic, mandatory=True)
        return timed(callers, seconds, lambda: client.call(CONTEXT, "echo", x=x))

    def casts(self, topic, callers, seconds, x, fanout=False):
        client = self._client(topic, fanout)
        return timed(callers, seconds, lambda: client.cast(CONTEXT, "count", x=x))

    def notify(self, topic, callers, seconds, x):
        transport = oslo_messaging.get_notification_transport(CONF, url=self._url)
        notifier = oslo_messaging.Notifier(transport, "bench", driver="messagingv2", topics=[topic])
        return timed(callers, seconds, lambda: notifier.info({}, "bench.event", {"x": x}))

    def once(self, topic, timeout, method="echo", **arguments):
        """Milliseconds of one call, and its error if it had one."""
        started_s = time.monotonic()
        try:
            arguments = arguments or {"x": "once"}
            self._client(topic, timeout=timeout).call(CONTEXT, method, **arguments)
            error = None
        except Exception as failure:
            error = type(failure).__name__
        return {"ms": (time.monotonic() - started_s) * 1000, "error": error}

    def sleepers(self, topic, callers, seconds):
        """Calls in flight for so long; returns when they have been sent."""
        client = self._client(topic)
        for _ in range(callers):
            words = (CONTEXT, "sleep")
            call = threading.Thread(
                target=client.call, args=words, kwargs={"seconds": seconds}, daemon=True
            )
            call.start()

    def load(self, topic, callers, seconds, timeout):
        """Calls through whatever happens: [begun, ended, error] of each, on the monotonic clock;
        and how many had still not ended long after their timeout."""
        client = self._client(topic, timeout=timeout)
        until_s = time.monotonic() + seconds
        lives = []

        def run():
            while (begun_s := time.monotonic()) < until_s:
                error = None
                try:
                    client.call(CONTEXT, "echo", x="load")
                except Exception as failure:
                    error = type(failure).__name__
                    time.sleep(0.01)
                lives.append([begun_s, time.monotonic(), error])

        unended = together([run] * callers, seconds + 3 * timeout)
        return {"lives": lives, "unended": unended}


def together(runs, within_s=600.0):
    """Runs them at once; how many had not ended by then."""
    threads = [threading.Thread(target=run, daemon=True) for run in runs]
    for thread in threads:
        thread.start()
    until_s = time.monotonic() + within_s
    for thread in threads:
        thread.join(max(0.0, until_s - time.monotonic()))
    return sum(thread.is_alive() for thread in threads)


def timed(callers, seconds, call):
    latencies_s = []
    began_s = time.monotonic()
    until_s = began_s + seconds

    def run():
        mine = []
        while (now_s := time.monotonic()) < until_s:
            call()
            mine.append(time.monotonic() - now_s)
        latencies_s.extend(mine)

    together([run] * callers)
    return summary(began_s, latencies_s)


def main():
    role, url, *rest = sys.argv[1:]
    if role == "serve":
        serve(start_server(url, *rest))
    else:
        caller = Caller(url)
        names = ("calls", "casts", "notify", "once", "sleepers", "load")
        serve({name: getattr(caller, name) for name in names})


main()
import os  # noqa: E402

os._exit(0)
