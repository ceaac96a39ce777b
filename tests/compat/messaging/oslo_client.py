# SPDX-License-Identifier: Apache-2.0
"""A client and notifier of oslo.messaging, told by lines what to send: `oslo_client.py URL`."""

import sys
import threading
import time

import oslo_messaging
from oslo_context import context as oslo_context
from oslo_lines import Lines, configured, end, target_of, told

CONF, LOGGED = configured()


class Commands:
    """What the test may ask for."""

    def __init__(self, url):
        self._url = url
        self._transport = oslo_messaging.get_rpc_transport(
            CONF, url=url, allowed_remote_exmods=["oslo_errors"]
        )

    def _client(self, target, mandatory=False, prepare=None, **options):
        if mandatory:
            options["transport_options"] = oslo_messaging.TransportOptions(at_least_once=True)
        made = oslo_messaging.get_rpc_client(self._transport, target_of(target), **options)
        return made.prepare(**prepare) if prepare else made

    def call(self, target, method, args=None, context=None, **options):
        """The answer, and the milliseconds until it came; or the error and these."""
        started_s = time.monotonic()
        try:
            client = self._client(target, **options)
            answer = {"result": client.call(context or {}, method, **(args or {}))}
        except Exception as error:
            answer = {"error": told(error)}
        return {**answer, "ms": round((time.monotonic() - started_s) * 1000)}

    def cast(self, target, method, args=None, context=None, **options):
        self._client(target, **options).cast(context or {}, method, **(args or {}))

    def can_send(self, target, version, **options):
        return self._client(target, **options).can_send_version(version)

    def load(self, target, method, first, count, threads, timeout=60):
        """`method(x)` for x in first..first+count; the answers that were not x, and errors."""
        client = self._client(target, timeout=timeout)
        numbers = iter(range(first, first + count))
        lock = threading.Lock()
        wrong, errors = [], []

        def run():
            while True:
                with lock:
                    x = next(numbers, None)
                if x is None:
                    return
                try:
                    answer = client.call({}, method, x=x)
                except Exception as error:
                    errors.append(told(error))
                else:
                    if answer != x:
                        wrong.append([x, answer])

        running = [threading.Thread(target=run) for _ in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        return {"wrong": wrong, "errors": errors}

    def notify(
        self, topics, priority, event_type, payload, driver="messagingv2", secret=False, times=1
    ):
        transport = oslo_messaging.get_notification_transport(CONF, url=self._url)
        notifier = oslo_messaging.Notifier(
            transport, publisher_id="compute.there", driver=driver, topics=topics
        )
        context = {}
        if secret:
            context = oslo_context.RequestContext(
                user_id="u1", project_id="p1", auth_token="token-of-u1", request_id="req-7"
            )
        for _ in range(times):
            getattr(notifier, priority)(context, event_type, payload)

    def logged(self):
        return list(LOGGED.texts)


Lines(Commands(sys.argv[1])).serve()
end()
