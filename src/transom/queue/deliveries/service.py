# SPDX-License-Identifier: Apache-2.0
"""The deliverer, put together; and under a lease, where several processes could be it."""

from transom.node.lease import Lease, Leased
from transom.queue.app import QueueApp
from transom.queue.deliveries.deliverer import Deliverer
from transom.queue.deliveries.mail import MailCarrier
from transom.queue.deliveries.trusts import Keystone, TrustTokens
from transom.queue.deliveries.webhook import WebhookCarrier
from transom.queue.logic.addresses import networks
from transom.runtime.auth.keystone import ServiceCredentials
from transom.runtime.clock import Clock
from transom.runtime.db.transaction import Database
from transom.runtime.sealing import Sealer

LEASE = "queue:deliveries"
LEASE_MS = 10_000


def build(
    app: QueueApp,
    sealer: Sealer | None,
    clock: Clock,
    *,
    keystone: ServiceCredentials | None,
    endpoint: str,
    websocket: str,
) -> Deliverer:
    """Not started. `keystone`: of a real one, for trusts. Raises: ConfigError."""
    config = app.access.config
    tokens = None if keystone is None else TrustTokens(Keystone(keystone, clock), clock)
    by_http = WebhookCarrier(
        networks(config.webhook_allow),
        config.webhook_timeout_s,
        config.deliveries_at_once,
        clock,
        tokens,
    )
    return Deliverer(
        app.access,
        app.signing,
        sealer,
        by_http,
        MailCarrier(config),
        clock,
        endpoint=endpoint,
        websocket=websocket,
    )


class LeasedDeliverer:
    """Delivers while it holds the lease; a lifecycle service. `database`: one that all share who
    could."""

    def __init__(self, deliverer: Deliverer, database: Database, holder: str, clock: Clock) -> None:
        self._deliverer = deliverer
        self._leased = Leased(
            database,
            Lease(LEASE, holder, LEASE_MS),
            clock=clock,
            on_gain=self._gained,
            on_loss=self._deliverer.cut_off,
        )

    async def start(self) -> None:
        await self._leased.start()

    async def stop(self) -> None:
        """What is under way comes to its end first, while the lease still holds."""
        await self._deliverer.stop()
        await self._leased.stop()

    async def _gained(self, generation: int) -> None:
        await self._deliverer.start()
