# SPDX-License-Identifier: Apache-2.0
"""What a caller may do with queues: authorised, within limits, one atomic step in the store each.

Invariants:
1. Every method begins with its access rule; the project is that of the caller's token. So an
   answer is given again, to a request that is repeated, only where the first would be given.
2. The time is read inside the transaction, so times never go back from one write to the next.
"""

from transom.errors import TransomError
from transom.queue.app.access import Access
from transom.queue.app.claims import Claims
from transom.queue.app.flavors import Flavors
from transom.queue.app.health import Health
from transom.queue.app.letters import Letters
from transom.queue.app.many_claims import ManyClaims
from transom.queue.app.messages import Messages
from transom.queue.app.pools import Pools
from transom.queue.app.queues import Queues
from transom.queue.app.shares import Shares
from transom.queue.app.signing import Signing
from transom.queue.app.subscriptions import NoTrusts, Subscriptions, Trusts
from transom.queue.app.watching import Watching
from transom.queue.model import Place
from transom.queue.store import queues as stored
from transom.queue.store.stores import PoolOpener
from transom.queue.store.verbs.project_keys import RenewProjectKeys
from transom.runtime.clock import Clock
from transom.runtime.sealing import Sealer


class QueueApp:
    """The use cases, by their nouns. `sealer`: keeps secrets; `trusts`: of a Keystone."""

    def __init__(
        self,
        access: Access,
        signing: Signing,
        clock: Clock,
        sealer: Sealer | None,
        trusts: Trusts | None,
        opener: PoolOpener | None,
    ) -> None:
        self.queues = Queues(access)
        self.messages = Messages(access)
        self.claims = Claims(access)
        self.many_claims = ManyClaims(access)
        self.letters = Letters(access)
        self.pools = Pools(access, opener, sealer)
        self.flavors = Flavors(access)
        self.signing = signing
        self.shares = Shares(access, signing)
        self.subscriptions = Subscriptions(access, sealer, trusts or NoTrusts())
        self.health = Health(access, clock)
        self.watching = Watching(access)
        self.access = access
        self.bell = access.waiting.bell
        self.figures = access.figures
        self.figures.waiters = lambda: self.bell.waiting

    async def rotate_keys(self, project_id: str) -> tuple[list[tuple[str, int]], dict[str, str]]:
        """(project, generation of the key that seals from now on) of each store at hand; and those
        of them where that failed, with why. `project_id` "": all projects."""
        renew = RenewProjectKeys(Place(project_id, ""))
        renewed: list[tuple[str, int]] = []
        failed: dict[str, str] = {}
        for store in self.access.stores.every():
            try:
                renewed += await store.writer.write(renew)
            except TransomError as error:
                failed[store.name] = error.text
        return renewed, failed

    async def ping(self) -> None:
        """Raises: what keeps the store from being read."""
        await self.access.stores.home.database.read(lambda tx: stored.count(tx, ""))
