# SPDX-License-Identifier: Apache-2.0
"""All that is sealed in a store: the keys of projects, the addresses of pools, the
secrets of subscriptions.

Invariant: who adds something that is sealed under the master key adds it here, or a rotation of the
master key would lose it.
"""

from transom.queue.store import pools, project_keys, subscriptions
from transom.runtime.db.transaction import Transaction
from transom.runtime.sealing import Sealer


async def seal_again(tx: Transaction, sealer: Sealer) -> int:
    """Seals some of it under the first master key; how many values, 0 if none is left.

    Raises: ConfigError for one that does not open.
    """
    count = await project_keys.seal_again(tx, sealer)
    count += await subscriptions.sealed_again(tx, sealer)
    return count + await pools.sealed_again(tx, sealer)


async def any_left(tx: Transaction, sealer: Sealer) -> bool:
    """Whether anything here is sealed under another than the first master key."""
    return (
        await project_keys.any_left(tx, sealer)
        or await pools.any_left(tx, sealer)
        or await subscriptions.any_left(tx, sealer)
    )
