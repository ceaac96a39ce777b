# SPDX-License-Identifier: Apache-2.0
"""`transom db upgrade`: the one step between two versions."""

from argparse import Namespace

from transom.cli.settings import Settings
from transom.identity.service import FILE_NAME as IDENTITY_FILE
from transom.identity.service import MIGRATIONS as IDENTITY_MIGRATIONS
from transom.node.migrations import NODE
from transom.queue.service import FILE_NAME as QUEUE_FILE
from transom.queue.service import MIGRATIONS as QUEUE_MIGRATIONS
from transom.runtime.clock import SystemClock
from transom.runtime.db.migrate import upgrade as upgrade_file

FILES = {
    IDENTITY_FILE: (IDENTITY_MIGRATIONS, NODE),
    QUEUE_FILE: (QUEUE_MIGRATIONS, NODE),
}


def upgrade(options: Namespace) -> int:
    """Applies what is missing to every file, and says what that was."""
    data = Settings.of(options).data
    data.require()
    folder = data.path
    applied = []
    for name, rooms in FILES.items():
        applied += upgrade_file(folder / name, rooms, clock=SystemClock())
    for name in applied:
        print(f"applied {name}")
    if not applied:
        print(f"{folder}: nothing to do")
    return 0
