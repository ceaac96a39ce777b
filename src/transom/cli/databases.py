# SPDX-License-Identifier: Apache-2.0
"""`transom db upgrade`: the one step between two versions."""

from argparse import Namespace

from transom.cli import queue_stores
from transom.cli.parts import STORES
from transom.cli.settings import Settings
from transom.runtime.clock import SystemClock


def upgrade(options: Namespace) -> int:
    """Applies what is missing to every file or schema, and says what that was."""
    settings = Settings.of(options)
    settings.data.require()
    applied = []
    for store in STORES.values():
        names = store.upgrade(settings, SystemClock())
        applied += [f"{name} to {store.part}" for name in names]
    applied += queue_stores.upgrade(settings)
    for name in applied:
        print(f"applied {name}")
    if not applied:
        print(f"{settings.data.path}: nothing to do")
    return 0
