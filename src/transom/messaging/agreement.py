# SPDX-License-Identifier: Apache-2.0
"""Whether what a publisher sends is in a form that its reader knows.

All that a publisher sends carries the fingerprint of its schemas. A reader that says how it knows
its tables heeds nothing under a fingerprint that it has not compared; it asks for the schemas once.

Invariants:
1. Nothing is read under schemas that were not compared, but from a publisher that tells none.
2. A table that is not published (yet) is waited for; one in a form that cannot be read is an error.
"""

import logging
from collections.abc import Iterable, Sequence

from transom.messaging.schema import Table, check_readable, fingerprint

log = logging.getLogger(__name__)

REMEMBERED = 64


class Agreement:
    """Of one reader. `read`: how it knows its tables; none: it heeds whatever comes."""

    def __init__(self, source: str, read: Sequence[Table]) -> None:
        self._source = source
        self._read = tuple(read)
        self._compared: dict[str, bool] = {"": True}

    def holds(self, schema: str) -> bool | None:
        """Whether what comes under this fingerprint can be read; None: it is to be learnt."""
        return self._compared.get(schema) if self._read else True

    def learn(self, published: Iterable[Table]) -> None:
        """Compares. Raises: SchemaRefused."""
        theirs = {table.name: table for table in published}
        lacking = [table.name for table in self._read if table.name not in theirs]
        for table in self._read:
            if table.name in theirs:
                check_readable(table, theirs[table.name])
        if lacking:
            log.warning(
                "tables are not published", extra={"source": self._source, "tables": lacking}
            )
        if len(self._compared) >= REMEMBERED:
            self._compared = {"": True}
        self._compared[fingerprint(theirs.values())] = not lacking
