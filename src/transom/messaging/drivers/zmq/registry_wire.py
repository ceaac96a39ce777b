# SPDX-License-Identifier: Apache-2.0
"""What a process and the registry say to each other, as msgpack.

The process's name is its zmq routing id. A process counts its requests by `token`; 0 wants no
answer. The registry answers a Register only when every process has applied the change (or had its
time), and a Sync only when it knows everybody again, so an answer means that all know.
"""

import msgspec

from transom.errors import InvalidEnvelope
from transom.messaging.drivers.base import Address
from transom.messaging.registry import Change, Entry


class Register(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """All that the process serves."""

    token: int
    revision: int
    addresses: tuple[Address, ...]


class Renew(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A heartbeat, saying which table the process has."""

    revision: int
    epoch: str
    number: int


class Sync(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Answered after all changes before it."""

    token: int


class Applied(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The process has the table of this number."""

    epoch: str
    number: int


class Fetch(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The whole table, please."""


class Leave(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The process serves nothing any more."""


class Changed(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Pushed to everybody."""

    epoch: str
    changes: tuple[Change, ...]


class Whole(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The table. Not `settled`: the registry restarted and some have not come back yet."""

    epoch: str
    number: int
    settled: bool
    entries: tuple[Entry, ...]


class Answer(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """To Register and Sync by token, to Renew with token 0. Not `known`: register (again)."""

    token: int
    epoch: str
    number: int
    settled: bool
    known: bool


Request = Register | Renew | Sync | Applied | Fetch | Leave
Reply = Changed | Whole | Answer

_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_replies: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)
encode = msgspec.msgpack.Encoder().encode


def decode_request(frame: bytes) -> Request:
    """Raises: InvalidEnvelope."""
    try:
        return _requests.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidEnvelope("no request to the registry", detail=str(error)) from error


def decode_reply(frame: bytes) -> Reply:
    """Raises: InvalidEnvelope."""
    try:
        return _replies.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidEnvelope("no answer of the registry", detail=str(error)) from error
