# SPDX-License-Identifier: Apache-2.0
"""The queues of a running Transom, live, in a process of one's own.

    python examples/watch_queues.py DATA_FOLDER [NAME]

Prints each change; ends when the queue NAME has come and gone.
"""

import asyncio
import json
import sys
from pathlib import Path

from transom.messaging import TableReplica, connect
from transom.messaging.proto.feed import ChangeSet


async def main(data: Path, awaited: str) -> None:
    # The family's sockets: `transom up` says in its data folder where they are.
    state = json.loads((data / "state.json").read_text())
    async with (
        connect(f"zmq://{state['runtime_folder']}") as transport,
        TableReplica(transport, source="queue", tables=["queue:queues"]) as replica,
    ):
        seen: set[str] = set()
        async for item in replica:
            if not isinstance(item, ChangeSet):
                print(type(item).__name__.lower(), flush=True)
                continue
            for change in item.changes:
                name = change.key[1]
                print("-" if change.row is None else "+", name, flush=True)
                if change.row is not None:
                    seen.add(name)
                elif name == awaited and name in seen:
                    return


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""))
