# SPDX-License-Identifier: Apache-2.0
"""Commands by lines: one JSON object a line in, one out, each command in a thread of its own.

    in   {"id": 7, "do": "call", ...arguments}
    out  {"id": 7, "result": ...}  or  {"id": 7, "error": {"class", "module", "text", "args"}}

Runs in the environment of oslo.messaging. The program ends when its input ends.
"""

import json
import logging
import os
import sys
import threading
import warnings

import oslo_messaging
from oslo_config import cfg


def told(error):
    """An exception as JSON."""
    kinds = [kind.__name__ for kind in type(error).__mro__]
    args = [str(argument) for argument in error.args]
    if isinstance(error, oslo_messaging.RemoteError):
        args = [error.exc_type, error.value]
    return {
        "class": type(error).__name__,
        "module": type(error).__module__,
        "kinds": kinds,
        "text": str(error),
        "args": args,
        "kwargs": {key: repr(value) for key, value in getattr(error, "kwargs", {}).items()},
    }


class Lines:
    """Runs commands: the public methods of `commands`, by their names."""

    def __init__(self, commands):
        self._commands = commands
        self._lock = threading.Lock()

    def say(self, answer):
        with self._lock:
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()

    def _run(self, number, do, arguments):
        try:
            self.say({"id": number, "result": getattr(self._commands, do)(**arguments)})
        except Exception as error:
            self.say({"id": number, "error": told(error)})

    def serve(self):
        self.say({"ready": os.getpid()})
        for line in sys.stdin:
            request = json.loads(line)
            words = (request.pop("id"), request.pop("do"), request)
            threading.Thread(target=self._run, args=words, daemon=True).start()


class Logged(logging.Handler):
    """Keeps what was logged as an error."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())


def configured():
    """(configuration, errors logged). All options are in the address's query."""
    warnings.simplefilter("ignore")
    oslo_messaging.set_transport_defaults("openstack")
    cfg.CONF([], project="interop")
    logged = Logged()
    logging.getLogger("oslo_messaging").addHandler(logged)
    logging.getLogger().addHandler(logging.StreamHandler(sys.stderr))
    return cfg.CONF, logged


def target_of(fields):
    return oslo_messaging.Target(**(fields or {}))


def end():
    """At once: what a server of theirs does when it is stopped is not what is tested here."""
    sys.stdout.flush()
    os._exit(0)
