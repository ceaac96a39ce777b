# SPDX-License-Identifier: Apache-2.0
"""A peer that speaks the wire by hand, by kombu, for what no library sends: `wire_peer.py URL`.

It answers requests in whatever way it is told, publishes whatever text, and shows what lies in a
queue with its properties.
"""

import json
import sys
import threading
import time
import uuid

import kombu
from oslo_lines import Lines, configured, end

configured()
SENT = {"content_type": "application/json", "content_encoding": "utf-8"}


def envelope(message, extra=None):
    return json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(message), **(extra or {})})


def opened(body):
    body = body if isinstance(body, str) else bytes(body).decode()
    outer = json.loads(body)
    return json.loads(outer["oslo.message"]) if "oslo.message" in outer else outer


class Commands:
    """What the test may ask for. Each has a connection of its own."""

    def __init__(self, url):
        self._url = url.replace("rabbit://", "amqp://", 1)

    def _channel(self):
        return kombu.Connection(self._url, login_method="PLAIN").channel()

    def publish(self, exchange, routing_key, text, **properties):
        self._channel().basic_publish_confirm(
            self._message(text, **properties), exchange=exchange, routing_key=routing_key
        )

    def _message(self, text, **properties):
        import amqp

        return amqp.Message(text, **{**SENT, "delivery_mode": 2, **properties})

    def send(self, exchange, routing_key, message, extra=None, times=1, **properties):
        """The message in the envelope, `extra` keys beside it; `times` copies, alike."""
        message.setdefault("_unique_id", uuid.uuid4().hex)
        for _ in range(times):
            self.publish(exchange, routing_key, envelope(message, extra), **properties)

    def answer(self, exchange, topic, replies, requests=1, pause_s=0.0):
        """Serves `requests` requests: to each all `replies`, completed, one after the other."""
        channel = self._channel()
        channel.exchange_declare(exchange, "topic", durable=False, auto_delete=False)
        channel.queue_declare(topic, durable=False, auto_delete=False)
        channel.queue_bind(topic, exchange, topic)
        served = threading.Event()

        def take(raw):
            nonlocal requests
            requests -= 1
            request = opened(raw.body)
            for reply in replies:
                extra = reply.get("beside")
                told = {"result": None, "failure": None, "ending": True}
                told.update({key: value for key, value in reply.items() if key != "beside"})
                told.setdefault("_msg_id", request["_msg_id"])
                told.setdefault("_unique_id", uuid.uuid4().hex)
                time.sleep(pause_s)
                self.publish("", request["_reply_q"], envelope(told, extra))
            if requests == 0:
                served.set()

        channel.basic_consume(topic, no_ack=True, callback=take)
        threading.Thread(target=self._drain, args=(channel, served), daemon=True).start()

    def _drain(self, channel, served):
        while not served.is_set():
            try:
                channel.connection.drain_events(timeout=0.2)
            except TimeoutError:
                continue
        channel.connection.close()

    def tap(self, exchange, routing_key):
        """The name of a new queue that gets copies of what is sent there."""
        channel = self._channel()
        name = f"tap-{uuid.uuid4().hex}"
        channel.queue_declare(name, durable=False, auto_delete=False)
        channel.queue_bind(name, exchange, routing_key)
        return name

    def got(self, queue, within_s=10):
        """The next message of a queue, as it lies there; None if none came."""
        channel = self._channel()
        until_s = time.monotonic() + within_s
        while time.monotonic() < until_s:
            raw = channel.basic_get(queue, no_ack=True)
            if raw is not None:
                body = raw.body if isinstance(raw.body, str) else bytes(raw.body).decode()
                return {"body": body, "properties": dict(raw.properties), "headers": raw.headers}
            time.sleep(0.02)
        return None

    def declare(self, exchange, queue, durable):
        """As somebody who was here before."""
        channel = self._channel()
        channel.exchange_declare(exchange, "topic", durable=durable, auto_delete=False)
        channel.queue_declare(queue, durable=durable, auto_delete=False)
        channel.queue_bind(queue, exchange, queue)


Lines(Commands(sys.argv[1])).serve()
end()
