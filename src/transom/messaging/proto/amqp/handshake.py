# SPDX-License-Identifier: Apache-2.0
"""The way from a fresh stream to an open connection.

    GREETING ── start / start-ok ──► TUNING ── tune / tune-ok, open ──► OPENING ── open-ok ──► DONE

Invariants:
1. Only the method that the step waits for leads on; any other is a Fault, or a Refused where the
   server has not spoken AMQP 0-9-1 yet and would not understand a close.
2. What is agreed is at most what each side named, and at most our ceilings; 0 names nothing. Frames
   are never agreed to be smaller than FRAME_MIN.
"""

from collections.abc import Mapping
from enum import Enum

import msgspec

from transom.messaging.proto.amqp.fault import Code, Fault
from transom.messaging.proto.amqp.frames import method_frame
from transom.messaging.proto.amqp.methods import (
    ConnectionOpen,
    ConnectionOpenOk,
    ConnectionStart,
    ConnectionStartOk,
    ConnectionTune,
    ConnectionTuneOk,
    Method,
)
from transom.messaging.proto.amqp.settings import (
    CAPABILITIES,
    CHANNEL_CEILING,
    FRAME_CEILING,
    FRAME_MIN,
    Settings,
)
from transom.messaging.proto.amqp.wire import Table, Unencodable, encode_entries


class Step(Enum):
    """What is waited for, and what a stream that ends there means."""

    GREETING = (
        "the server ended the stream before it said anything: it may want TLS, or be no broker"
    )
    TUNING = "the server ended the stream at the credentials of user {username!r}"
    OPENING = "the server ended the stream at the virtual host {vhost!r}"
    DONE = "the stream ended"


class Refused(Exception):
    """We cannot talk to this server. It never leaves the package."""


class Agreed(msgspec.Struct, frozen=True, gc=False):
    """What holds from now on. `heartbeat_s` 0: no heartbeats."""

    frame_max: int = FRAME_CEILING
    channel_max: int = CHANNEL_CEILING
    heartbeat_s: int = 0


class Handshake:
    """`agreed` holds once the step is OPENING, `server_properties` once it is TUNING."""

    __slots__ = ("_open", "_settings", "_start_ok", "agreed", "server_properties", "step")

    def __init__(self, settings: Settings) -> None:
        """Raises: Unencodable, if the settings have no form on the wire."""
        asked = ConnectionTuneOk(
            channel_max=settings.channel_max,
            frame_max=settings.frame_max,
            heartbeat_s=settings.heartbeat_s,
        )
        method_frame(0, asked)  # so that whatever is agreed has a form on the wire
        self._settings = settings
        self._start_ok = method_frame(0, _start_ok(settings))
        self._open = method_frame(0, ConnectionOpen(virtual_host=settings.vhost))
        self.step = Step.GREETING
        self.agreed = Agreed()
        self.server_properties: Table = {}

    def receive(self, method: Method) -> list[bytes]:
        """The frames that answer it. Raises: Fault, Refused."""
        if self.step is Step.GREETING and isinstance(method, ConnectionStart):
            return [self._start(method)]
        if self.step is Step.TUNING and isinstance(method, ConnectionTune):
            return self._tune(method)
        if self.step is Step.OPENING and isinstance(method, ConnectionOpenOk):
            self.step = Step.DONE
            return []
        name = type(method).__name__
        if self.step is Step.GREETING:
            raise Refused(f"the server began with {name}")
        raise Fault(Code.COMMAND_INVALID, f"{name} came while the connection was being opened")

    @property
    def ended(self) -> str:
        """What it means that the stream ended now."""
        settings = self._settings
        return self.step.value.format(username=settings.username, vhost=settings.vhost)

    def _start(self, method: ConnectionStart) -> bytes:
        version = (method.version_major, method.version_minor)
        if version != (0, 9):
            raise Refused(f"the server speaks AMQP {version[0]}-{version[1]}, not 0-9-1")
        offered = method.mechanisms.decode("utf-8", "replace").split()
        mechanism = self._settings.mechanism
        if mechanism not in offered:
            raise Refused(f"the server offers the mechanisms {', '.join(offered)}, not {mechanism}")
        self.server_properties = method.server_properties
        self.step = Step.TUNING
        return self._start_ok

    def _tune(self, method: ConnectionTune) -> list[bytes]:
        if 0 < method.frame_max < FRAME_MIN:
            text = f"the server takes frames of {method.frame_max} bytes, less than {FRAME_MIN}"
            raise Fault(Code.SYNTAX_ERROR, text)
        settings = self._settings
        beats = (method.heartbeat_s, settings.heartbeat_s)
        self.agreed = Agreed(
            max(_least(method.frame_max, settings.frame_max, FRAME_CEILING), FRAME_MIN),
            _least(method.channel_max, settings.channel_max, CHANNEL_CEILING),
            min(beats) or max(beats),
        )
        self.step = Step.OPENING
        answer = ConnectionTuneOk(
            channel_max=self.agreed.channel_max,
            frame_max=self.agreed.frame_max,
            heartbeat_s=self.agreed.heartbeat_s,
        )
        return [method_frame(0, answer), self._open]


def _least(*limits: int) -> int:
    return min(limit for limit in limits if limit)


def _start_ok(settings: Settings) -> Method:
    given = settings.client_properties
    capabilities = given.get("capabilities")
    more = capabilities if isinstance(capabilities, Mapping) else {}
    return ConnectionStartOk(
        client_properties={**given, "capabilities": {**CAPABILITIES, **more}},
        mechanism=settings.mechanism,
        response=_response(settings),
    )


def _response(settings: Settings) -> bytes:
    if settings.mechanism == "EXTERNAL":
        return b""
    name, password = settings.username, settings.password
    if settings.mechanism == "AMQPLAIN":
        return encode_entries({"LOGIN": name, "PASSWORD": password})
    try:
        return f"\0{name}\0{password}".encode()
    except UnicodeEncodeError as error:
        raise Unencodable("the name or password cannot be sent as UTF-8") from error
