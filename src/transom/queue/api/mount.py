# SPDX-License-Identifier: Apache-2.0
"""All routes of the queue below one prefix."""

from transom.queue.api.claims import ClaimHandlers
from transom.queue.api.home import HomeHandlers
from transom.queue.api.messages import MessageHandlers
from transom.queue.api.parameters import Bounded
from transom.queue.api.queues import QueueHandlers
from transom.queue.api.refusals import error_shape
from transom.queue.app import QueueApp
from transom.queue.config import QueueConfig
from transom.runtime.http.route import Mount

PREFIX = "/queue"


READ_TIMES_LIMIT = 4
"""A body this many times too large is still read, and refused as Zaqar's clients know it (400); a
larger one is refused unread (413)."""


def mount(app: QueueApp, config: QueueConfig, prefix: str = PREFIX) -> Mount:
    bounded = Bounded(config)
    of_metadata = READ_TIMES_LIMIT * config.max_queue_metadata_bytes
    of_messages = READ_TIMES_LIMIT * config.max_messages_post_bytes
    routes = [
        *HomeHandlers(app, prefix).routes(),
        *QueueHandlers(app, bounded, of_metadata).routes(),
        *MessageHandlers(app, bounded, of_messages).routes(),
        *ClaimHandlers(app, bounded).routes(),
    ]
    return Mount(prefix, routes, error_shape)
