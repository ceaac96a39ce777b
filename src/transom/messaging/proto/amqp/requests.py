# SPDX-License-Identifier: Apache-2.0
"""Requests of one channel that wait for their answers.

Invariant: an answer is the oldest request's that it can be of; one that answers no request is a
Fault. Only consume and cancel may be overtaken by answers of later requests: RabbitMQ has them
answered by the queue's own process.
"""

from collections import deque

from transom.messaging.proto.amqp.coding import NUMBERS
from transom.messaging.proto.amqp.fault import Code, Fault
from transom.messaging.proto.amqp.methods import ANSWERS, BasicCancel, BasicConsume, Method


class Requests:
    """In the order in which they were written."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: deque[Method] = deque()

    @property
    def waiting(self) -> tuple[Method, ...]:
        return tuple(self._waiting)

    def add(self, request: Method) -> None:
        self._waiting.append(request)

    def restore(self, request: Method) -> None:
        """Its answer was begun, and will not come."""
        self._waiting.appendleft(request)

    def answered(self, answer: Method) -> Method:
        """The request that it answers, which waits no more. Raises: Fault."""
        for place, request in enumerate(self._waiting):
            if _fits(answer, request):
                del self._waiting[place]
                return request
            if not isinstance(request, BasicConsume | BasicCancel):
                break
        name = type(answer).__name__
        text = f"{name} came, which answers no request"
        raise Fault(Code.COMMAND_INVALID, text, NUMBERS[type(answer)])


def _fits(answer: Method, request: Method) -> bool:
    """The tag tells consumers apart, but where the broker draws it."""
    if type(answer) not in ANSWERS[type(request)]:
        return False
    named = getattr(request, "consumer_tag", "")
    return not named or named == getattr(answer, "consumer_tag", named)
