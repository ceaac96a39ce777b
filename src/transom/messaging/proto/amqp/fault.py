# SPDX-License-Identifier: Apache-2.0
"""Faults: what the peer did wrong, and what the caller asked for at the wrong time.

Source: the reply codes of AMQP 0-9-1; only hard errors, which end the connection, are ours to say.
"""

from enum import IntEnum

from transom.errors import MessageDeliveryFailure


class Code(IntEnum):
    """Reply codes that are said here."""

    NONE = 0  # not a code of AMQP: the connection ended without one
    SUCCESS = 200
    FRAME_ERROR = 501
    SYNTAX_ERROR = 502
    COMMAND_INVALID = 503
    CHANNEL_ERROR = 504
    UNEXPECTED_FRAME = 505
    NOT_IMPLEMENTED = 540


class Fault(Exception):
    """The peer broke the protocol; the connection is to be closed with this code and text.

    `method`: class and number of the method that it sent, else 0. It never leaves the package.
    """

    def __init__(self, code: Code, text: str, method: int = 0) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.method = method


class NotOpen(MessageDeliveryFailure):
    """The connection or channel is not open, or there is no channel left; nothing was written."""
