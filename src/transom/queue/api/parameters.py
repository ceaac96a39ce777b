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
IN_QUEUE = (CLIENT, QUEUE)
CLAIM_NAMED = Parameter("claim_id", "The claim that holds the message", Uuid)


class Bounded:
    """Parameters whose bounds the configuration sets."""

    def __init__(self, config: QueueConfig) -> None:
        self._config = config

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

    def claiming(self) -> tuple[Parameter, ...]:
        return (*IN_QUEUE, _limit(self._config.max_messages_per_claim))

    def _ids(self, summary: str) -> Parameter:
        most = self._config.max_messages_per_page
        return Parameter("ids", summary, Annotated[list[Text], Meta(min_length=1, max_length=most)])


def _limit(most: int) -> Parameter:
    return Parameter("limit", "The most in one answer", Annotated[int, Meta(ge=1, le=most)])
