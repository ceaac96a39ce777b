# SPDX-License-Identifier: Apache-2.0
"""A server and listener of oslo.messaging, told by lines what to serve: `oslo_server.py URL`."""

import sys
import threading
import time
from collections import Counter

import oslo_messaging
from oslo_errors import Sold
from oslo_lines import Lines, configured, end, target_of

CONF, LOGGED = configured()


class Seen:
    """What arrived, in the order of arrival."""

    def __init__(self):
        self._lock = threading.Lock()
        self.all = []

    def add(self, what):
        with self._lock:
            self.all.append(what)


class Plain:
    """The endpoint without a target: no namespace, version 1.0."""

    def __init__(self, server, seen):
        self._server = server
        self._seen = seen

    def echo(self, context, x=None):
        return x

    def count(self, context, x):
        self._seen.add(x)
        return x

    def nothing(self, context):
        return None

    def context(self, context):
        return dict(context)

    def who(self, context):
        return self._server

    def sleep(self, context, seconds):
        time.sleep(seconds)
        return "slept"

    def note(self, context, x):
        self._seen.add([self._server, x])

    def fail(self, context, text):
        raise ValueError(text)

    def fail_known(self, context, **kwargs):
        raise Sold(**kwargs)

    @oslo_messaging.expected_exceptions(KeyError)
    def fail_expected(self, context):
        raise KeyError("absent")

    def fail_as_transom(self, context):
        kind = type("NotFound", (Exception,), {"__module__": "transom.errors"})
        raise kind("no such thing")


class Things:
    """An interface by namespace, with an older name of it."""

    target = oslo_messaging.Target(namespace="things", version="1.7", legacy_namespaces=["objects"])

    def size(self, context, x):
        return ["things", len(x)]


class Second:
    """A later version of the interface without a namespace."""

    target = oslo_messaging.Target(version="2.3.1")

    def which(self, context):
        return "second"


class Heard:
    """Endpoint of a listener: a method for each priority that it takes."""

    def __init__(self, priorities, seen, requeues):
        self._seen = seen
        self._left = requeues
        for priority in priorities:
            setattr(self, priority, self._taker(priority))

    def _taker(self, priority):
        def take(context, publisher_id, event_type, payload, metadata):
            again = self._left > 0
            self._left -= again
            self._seen.add(
                {
                    "priority": priority, "context": context, "publisher_id": publisher_id,
                    "event_type": event_type, "payload": payload, "metadata": metadata,
                    "requeued": again,
                }
            )  # fmt: skip
            result = oslo_messaging.NotificationResult
            return result.REQUEUE if again else result.HANDLED

        return take


class HeardBatch:
    """As `Heard`, of a batch listener: each call takes a list."""

    def __init__(self, priorities, seen):
        for priority in priorities:
            setattr(self, priority, seen.add)


class Commands:
    """What the test may ask for."""

    def __init__(self, url):
        self._url = url
        self._transport = None
        self._running = {}
        self._seen = {}

    def serve(self, name, target):
        if self._transport is None:
            self._transport = oslo_messaging.get_rpc_transport(CONF, url=self._url)
        target = target_of(target)
        seen = self._seen[name] = Seen()
        endpoints = [Plain(target.server, seen), Things(), Second()]
        server = oslo_messaging.get_rpc_server(self._transport, target, endpoints)
        server.start()
        self._running[name] = server

    def listen(self, name, targets, priorities, pool=None, batch=None, requeues=0):
        transport = oslo_messaging.get_notification_transport(CONF, url=self._url)
        targets = [target_of(target) for target in targets]
        seen = self._seen[name] = Seen()
        if batch:
            listener = oslo_messaging.get_batch_notification_listener(
                transport, targets, [HeardBatch(priorities, seen)],
                batch_size=batch, batch_timeout=1, pool=pool,
            )  # fmt: skip
        else:
            listener = oslo_messaging.get_notification_listener(
                transport, targets, [Heard(priorities, seen, requeues)],
                allow_requeue=True, pool=pool,
            )  # fmt: skip
        listener.start()
        self._running[name] = listener

    def seen(self, name, at_least=0, within_s=20):
        """What arrived; waits for it to be so many, then a moment for what should not."""
        until_s = time.monotonic() + within_s
        seen = self._seen[name].all
        while len(seen) < at_least and time.monotonic() < until_s:
            time.sleep(0.02)
        return list(seen)

    def repeated(self, name):
        """What came more than once."""
        counted = Counter(self._seen[name].all)
        return {"distinct": len(counted), "repeated": [x for x, n in counted.items() if n > 1]}

    def logged(self):
        return list(LOGGED.texts)

    def stop(self, name):
        running = self._running.pop(name)
        running.stop()
        running.wait()


Lines(Commands(sys.argv[1])).serve()
end()
