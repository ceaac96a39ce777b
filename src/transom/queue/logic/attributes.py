# SPDX-License-Identifier: Apache-2.0
"""A queue's metadata: free keys, and the reserved attributes that change what the queue does.

Invariants:
1. An attribute is stored only if it is honoured. What this server does not offer
   (a flavor that is not there) is refused, not remembered.
2. An attribute that is absent or null has the server's default.

Source: Zaqar API v2, "Create queue", reserved attributes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from transom.queue.logic.retries import check_policy
from transom.queue.model import InvalidAttribute, MetadataTooLarge, check_queue_name

if TYPE_CHECKING:
    from transom.queue.config import QueueConfig

POST_BYTES = "_max_messages_post_size"
MESSAGE_TTL = "_default_message_ttl"
MESSAGE_DELAY = "_default_message_delay"
DEAD_LETTER_QUEUE = "_dead_letter_queue"
DEAD_LETTER_TTL = "_dead_letter_queue_messages_ttl"
CLAIM_COUNT = "_max_claim_count"
KEY_WINDOW = "_message_key_window"
ENCRYPT = "_enable_encrypt_messages"
FLAVOR = "_flavor"
RETRY_POLICY = "_retry_policy"
RESERVED = frozenset(
    {
        POST_BYTES,
        MESSAGE_TTL,
        MESSAGE_DELAY,
        DEAD_LETTER_QUEUE,
        DEAD_LETTER_TTL,
        CLAIM_COUNT,
        KEY_WINDOW,
        ENCRYPT,
        FLAVOR,
        RETRY_POLICY,
    }
)
LEAST_TTL_S = 60
LONGEST_KEY_WINDOW_S = 86_400
_MOST_CLAIMS = (1 << 31) - 1
_CACHED_TEXT_LENGTH = 1024

Metadata = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Where messages go that are rejected, or were claimed `claims` times (None: no number is too
    many); `ttl_s`: of their life there, None for one as long as they had."""

    queue_name: str
    claims: int | None
    ttl_s: int | None


@dataclass(frozen=True, slots=True)
class Attributes:
    """What the metadata say of messages; None is the server's default."""

    post_bytes: int | None = None
    message_ttl_s: int | None = None
    message_delay_s: int | None = None
    dead_letters: DeadLetters | None = None
    key_window_s: int | None = None
    encrypt: bool = False


NO_ATTRIBUTES = Attributes()


def attributes_of(metadata_text: str) -> Attributes:
    """The attributes within stored metadata, which were checked when they were stored."""
    if metadata_text == "{}":
        return NO_ATTRIBUTES
    if len(metadata_text) > _CACHED_TEXT_LENGTH:
        return _read(metadata_text)
    return _read_cached(metadata_text)


def _read(metadata_text: str) -> Attributes:
    metadata: Metadata = msgspec.json.decode(metadata_text)
    name, dead_letters = metadata.get(DEAD_LETTER_QUEUE), None
    if name is not None:
        claims, ttl_s = metadata.get(CLAIM_COUNT), metadata.get(DEAD_LETTER_TTL)
        dead_letters = DeadLetters(name, claims, ttl_s)
    return Attributes(
        metadata.get(POST_BYTES),
        metadata.get(MESSAGE_TTL),
        metadata.get(MESSAGE_DELAY),
        dead_letters,
        metadata.get(KEY_WINDOW),
        bool(metadata.get(ENCRYPT)),
    )


_read_cached = lru_cache(maxsize=1024)(_read)


def shown(metadata: Mapping[str, Any], config: QueueConfig) -> Metadata:
    """The metadata with the reserved attributes that have a default filled in."""
    filled: Metadata = {
        POST_BYTES: config.max_messages_post_bytes,
        MESSAGE_TTL: config.default_message_ttl_s,
        MESSAGE_DELAY: config.default_message_delay_s,
        DEAD_LETTER_QUEUE: None,
        DEAD_LETTER_TTL: None,
        CLAIM_COUNT: None,
        ENCRYPT: False,
    }
    for key, value in metadata.items():
        if value is not None or key not in filled:
            filled[key] = value
    return filled


def checked_text(queue_name: str, metadata: Mapping[str, Any], config: QueueConfig) -> str:
    """The metadata as they are stored, once every value in them is one that it can have.

    Raises: InvalidAttribute, InvalidQueueName, MetadataTooLarge.
    """
    _check_number(metadata, POST_BYTES, 1, config.max_messages_post_bytes)
    _check_number(metadata, MESSAGE_TTL, LEAST_TTL_S, config.max_message_ttl_s)
    _check_number(metadata, MESSAGE_DELAY, 0, config.max_message_delay_s)
    _check_number(metadata, DEAD_LETTER_TTL, LEAST_TTL_S, config.max_message_ttl_s)
    _check_number(metadata, CLAIM_COUNT, 1, _MOST_CLAIMS)
    _check_number(metadata, KEY_WINDOW, 0, LONGEST_KEY_WINDOW_S)
    _check_dead_letter_queue(queue_name, metadata.get(DEAD_LETTER_QUEUE))
    _check_offered(metadata)
    encoded = msgspec.json.encode(metadata)
    if len(encoded) > config.max_queue_metadata_bytes:
        raise MetadataTooLarge(
            f"The metadata have {len(encoded)} bytes; "
            f"at most {config.max_queue_metadata_bytes} are kept."
        )
    return encoded.decode()


def _check_number(metadata: Mapping[str, Any], key: str, least: int, most: int) -> None:
    value = metadata.get(key)
    if value is None:
        return
    if type(value) is not int or not least <= value <= most:
        raise InvalidAttribute(f"{key} is a whole number from {least} to {most}.")


def _check_dead_letter_queue(queue_name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        raise InvalidAttribute(f"{DEAD_LETTER_QUEUE} is the name of a queue.")
    if check_queue_name(value) == queue_name:
        raise InvalidAttribute(f"{DEAD_LETTER_QUEUE} names the queue itself; name another one.")


def _check_offered(metadata: Mapping[str, Any]) -> None:
    encrypt = metadata.get(ENCRYPT)
    if encrypt is not None and type(encrypt) is not bool:
        raise InvalidAttribute(f"{ENCRYPT} is true or false.")
    flavor = metadata.get(FLAVOR)
    if flavor is not None and not isinstance(flavor, str):
        raise InvalidAttribute(f"{FLAVOR} is the name of a flavor.")
    check_policy(metadata.get(RETRY_POLICY))
