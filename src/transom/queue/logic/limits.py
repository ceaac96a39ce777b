# SPDX-License-Identifier: Apache-2.0
"""What a request may ask for: numbers within bounds, or an error that says the bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transom.queue.logic.attributes import LEAST_TTL_S, Attributes
from transom.queue.logic.letters import LONGEST_TEXT
from transom.queue.model import NewMessage, OutOfRange, PostTooLarge

if TYPE_CHECKING:
    from transom.queue.config import QueueConfig


LONGEST_KEY = 128


@dataclass(frozen=True, slots=True)
class ClaimTerms:
    """How long a claim lives, and how much longer than it its messages live at least."""

    ttl_s: int
    grace_s: int


def within(what: str, value: int, least: int, most: int) -> int:
    """The value. Raises: OutOfRange."""
    if not least <= value <= most:
        raise OutOfRange(f"{what} is {value}; it can be from {least} to {most}.")
    return value


def check_messages(messages: Sequence[NewMessage], config: QueueConfig) -> None:
    """Raises: OutOfRange, PostTooLarge."""
    if len(messages) > config.max_messages_per_post:
        raise PostTooLarge(
            f"There are {len(messages)} messages in one request; "
            f"at most {config.max_messages_per_post} are taken."
        )
    for message in messages:
        if message.ttl_s is not None:
            within("The ttl of a message", message.ttl_s, LEAST_TTL_S, config.max_message_ttl_s)
        if message.delay_s is not None:
            within("The delay of a message", message.delay_s, 0, config.max_message_delay_s)
        if message.key is not None:
            _check_key(message.key)


def _check_key(key: str) -> None:
    within("The number of characters of a message's key", len(key), 1, LONGEST_KEY)
    if "\0" in key:
        raise OutOfRange("The key of a message has no zero character in it.")


def check_reason(text: str) -> str:
    """Why messages are rejected, in words. Raises: OutOfRange."""
    within("The number of characters of the reason", len(text), 0, LONGEST_TEXT)
    if "\0" in text:
        raise OutOfRange("The reason has no zero character in it.")
    return text


def check_post_size(size_bytes: int, attributes: Attributes, config: QueueConfig) -> None:
    """Raises: PostTooLarge."""
    most = attributes.post_bytes or config.max_messages_post_bytes
    if size_bytes > most:
        raise PostTooLarge(
            f"The request has {size_bytes} bytes; this queue takes at most {most} at once."
        )


def claim_terms(ttl_s: int | None, grace_s: int | None, config: QueueConfig) -> ClaimTerms:
    """The terms asked for, with defaults where none were given. Raises: OutOfRange."""
    ttl_s = config.default_claim_ttl_s if ttl_s is None else ttl_s
    grace_s = config.default_claim_grace_s if grace_s is None else grace_s
    return ClaimTerms(
        within("The ttl of a claim", ttl_s, LEAST_TTL_S, config.max_claim_ttl_s),
        within("The grace of a claim", grace_s, LEAST_TTL_S, config.max_claim_grace_s),
    )


def release_delay(delay_s: int | None, config: QueueConfig) -> int:
    """The delay asked for, none if it was not. Raises: OutOfRange."""
    return within("The delay of a release", delay_s or 0, 0, config.max_message_delay_s)
