# SPDX-License-Identifier: Apache-2.0
"""`transom db upgrade`: the one step between two versions."""

from argparse import Namespace

from transom.cli.parts import STORES
from transom.cli.settings import Settings
from transom.runtime.clock import SystemClock
from transom.runtime.db.migrate import upgrade as upgrade_file


def upgrade(options: Namespace) -> int:
    """Applies what is missing to every file, and says what that was."""
    data = Settings.of(options).data
    data.require()
    folder = data.path
    applied = []
    for store in STORES.values():
        applied += upgrade_file(folder / store.file_name, store.migrations, clock=SystemClock())
    for name in applied:
        print(f"applied {name}")
    if not applied:
        print(f"{folder}: nothing to do")
    return 0
