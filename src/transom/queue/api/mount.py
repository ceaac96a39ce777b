# SPDX-License-Identifier: Apache-2.0
"""All routes of the queue below one prefix."""

from dataclasses import replace

from transom.queue.api.claims import ClaimHandlers
from transom.queue.api.flavors import FlavorHandlers
from transom.queue.api.health import HealthHandlers
from transom.queue.api.home import HomeHandlers
from transom.queue.api.letters import LetterHandlers
from transom.queue.api.many_claims import ManyClaimHandlers
from transom.queue.api.messages import MessageHandlers
from transom.queue.api.parameters import Bounded
from transom.queue.api.pools import PoolHandlers
from transom.queue.api.queues import QueueHandlers
from transom.queue.api.refusals import error_shape
from transom.queue.api.share import ShareHandlers
from transom.queue.api.socket.session import SocketDoor
from transom.queue.api.subscriptions import SubscriptionHandlers
from transom.queue.app import QueueApp
from transom.queue.config import QueueConfig
from transom.runtime.http.route import Mount, SocketRoute

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
        *QueueHandlers(app.queues, bounded, of_metadata).routes(),
        *MessageHandlers(app.messages, bounded, of_messages).routes(),
        *ClaimHandlers(app.claims, bounded).routes(),
        *ManyClaimHandlers(app.many_claims, bounded).routes(),
        *LetterHandlers(app.letters).routes(),
        *SubscriptionHandlers(app.subscriptions, bounded).routes(),
        *ShareHandlers(app.shares).routes(),
        *HealthHandlers(app.health).routes(),
        *PoolHandlers(app.pools, bounded).routes(),
        *FlavorHandlers(app.flavors, bounded).routes(),
    ]
    asked = Mount(prefix, routes, error_shape, admits=app.signing.admit)
    opened = SocketRoute(
        "/v2/websocket",
        SocketDoor(asked, app.watching).serve,
        of_messages,
        "Open a WebSocket, on which all of this can be asked",
    )
    return replace(asked, sockets=[opened])
