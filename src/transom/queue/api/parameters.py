# SPDX-License-Identifier: Apache-2.0
"""What calls take beside their bodies, as documents show it; handlers read it from the call."""

from typing import Annotated

from msgspec import Meta

from transom.queue.config import QueueConfig
from transom.queue.model import LONGEST_NAME
from transom.runtime.http.route import Parameter

_HEX = "[0-9a-fA-F]"
_UUID_PATTERN = f"^({_HEX}{{32}}|{_HEX}{{8}}(-{_HEX}{{4}}){{3}}-{_HEX}{{12}})$"
Uuid = Annotated[str, Meta(pattern=_UUID_PATTERN)]
QueueName = Annotated[str, Meta(pattern=rf"^[A-Za-z0-9_.\-]{{1,{LONGEST_NAME}}}$")]
Text = Annotated[str, Meta(min_length=1)]

CLIENT = Parameter("Client-ID", "A UUID that the client chooses", Uuid, "header", required=True)
QUEUE = Parameter("queue", "The queue's name", QueueName, "path")
MESSAGE = Parameter("message", "The message's id", Text, "path")
CLAIM = Parameter("claim", "The claim's id", Text, "path")
SUBSCRIPTION = Parameter("subscription", "The subscription's id", Text, "path")
IN_QUEUE = (CLIENT, QUEUE)
IN_POOL = (CLIENT, Parameter("pool", "The pool's name", QueueName, "path"))
IN_FLAVOR = (CLIENT, Parameter("flavor", "The flavor's name", QueueName, "path"))
DETAILS = Parameter("details", "Whether times, claims and moves of messages are shown", bool)
CLAIM_NAMED = Parameter("claim_id", "The claim that holds the message", Uuid)


class Bounded:
    """Parameters whose bounds the configuration sets."""

    def __init__(self, config: QueueConfig) -> None:
        self._config = config

    def pool_page(self) -> tuple[Parameter, ...]:
        return (
            Parameter("marker", "Only those whose names come after this one"),
            _limit(self._config.max_pools_per_page),
            Parameter("detailed", "Whether all is shown", bool),
        )

    def queue_page(self) -> tuple[Parameter, ...]:
        return (
            CLIENT,
            Parameter("marker", "Only queues whose names come after this one"),
            _limit(self._config.max_queues_per_page),
            Parameter("detailed", "Whether metadata are shown", bool),
            Parameter("with_count", "Whether all queues that the filter admits are counted", bool),
            Parameter("name", "Only queues whose names have this in them"),
            Parameter("KEY", "Only queues whose metadata have these values", dict[str, str]),
        )

    def message_page(self) -> tuple[Parameter, ...]:
        return (
            *IN_QUEUE,
            Parameter("marker", "Only messages after this one", Uuid),
            _limit(self._config.max_messages_per_page),
            Parameter("echo", "Also those that this client posted", bool),
            Parameter("include_claimed", "Also those under a live claim", bool),
            Parameter("include_delayed", "Also those whose delay has not passed", bool),
            self._ids("Instead of a page, these messages"),
            DETAILS,
            self._wait(),
        )

    def deletion(self) -> tuple[Parameter, ...]:
        most = self._config.max_messages_per_claim
        return (
            *IN_QUEUE,
            self._ids("The messages to delete"),
            Parameter("claim_ids", "Only if these claims hold them all", list[Uuid]),
            Parameter(
                "pop",
                "Instead of `ids`: delete and answer so many, the first that are free",
                Annotated[int, Meta(ge=1, le=most)],
            ),
        )

    def subscription_page(self) -> tuple[Parameter, ...]:
        return (
            *IN_QUEUE,
            Parameter("marker", "Only subscriptions made after this one", Uuid),
            _limit(self._config.max_subscriptions_per_page),
        )

    def claiming(self) -> tuple[Parameter, ...]:
        most = self._config.max_messages_per_claim
        return (*IN_QUEUE, _limit(most), DETAILS, self._wait())

    def claiming_many(self) -> tuple[Parameter, ...]:
        return (CLIENT, _limit(self._config.max_messages_per_claim), DETAILS, self._wait())

    def _wait(self) -> Parameter:
        most = self._config.max_wait_s
        summary = "If there is nothing: wait so many seconds for something"
        return Parameter("wait", summary, Annotated[int, Meta(ge=0, le=most)])

    def releasing(self) -> tuple[Parameter, ...]:
        return (*IN_QUEUE, CLAIM, self.delay())

    def delay(self) -> Parameter:
        most = self._config.max_message_delay_s
        text = "For how long its messages stay hidden, in seconds"
        return Parameter("delay", text, Annotated[int, Meta(ge=0, le=most)])

    def _ids(self, summary: str) -> Parameter:
        most = self._config.max_messages_per_page
        return Parameter("ids", summary, Annotated[list[Text], Meta(min_length=1, max_length=most)])


def _limit(most: int) -> Parameter:
    return Parameter("limit", "The most in one answer", Annotated[int, Meta(ge=1, le=most)])
