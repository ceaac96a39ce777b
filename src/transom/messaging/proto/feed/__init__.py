# SPDX-License-Identifier: Apache-2.0
"""Feeds as pure machines: no clock, no randomness, no bus.

`VolatileFeed` owns rows and numbers their changes; `Replica` follows a feed over a bus that may
lose, repeat, delay and reorder, and says what to apply and what to ask for.
"""

from transom.messaging.proto.feed.change import (
    Change,
    ChangeSet,
    Chunk,
    Cursor,
    Head,
    Key,
    Part,
    Row,
    split,
)
from transom.messaging.proto.feed.demand import Demand
from transom.messaging.proto.feed.digest import MODULUS, encoded_row, hash_bytes, row_hash
from transom.messaging.proto.feed.events import (
    Apply,
    AskSince,
    AskSnapshot,
    Became,
    Caught,
    Effect,
    Event,
    Failed,
    Gap,
    Heard,
    Live,
    Loading,
    Paged,
    Stale,
    State,
    Subscribed,
    Tick,
)
from transom.messaging.proto.feed.limits import Limits
from transom.messaging.proto.feed.oversize import KEY_BYTES, OVERSIZE, ROW_BYTES, KeyTooLarge
from transom.messaging.proto.feed.publisher import TableIdle, VolatileFeed
from transom.messaging.proto.feed.replica import Replica

__all__ = [
    "KEY_BYTES",
    "MODULUS",
    "OVERSIZE",
    "ROW_BYTES",
    "Apply",
    "AskSince",
    "AskSnapshot",
    "Became",
    "Caught",
    "Change",
    "ChangeSet",
    "Chunk",
    "Cursor",
    "Demand",
    "Effect",
    "Event",
    "Failed",
    "Gap",
    "Head",
    "Heard",
    "Key",
    "KeyTooLarge",
    "Limits",
    "Live",
    "Loading",
    "Paged",
    "Part",
    "Replica",
    "Row",
    "Stale",
    "State",
    "Subscribed",
    "TableIdle",
    "Tick",
    "VolatileFeed",
    "encoded_row",
    "hash_bytes",
    "row_hash",
    "split",
]
