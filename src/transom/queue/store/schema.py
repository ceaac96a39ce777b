# SPDX-License-Identifier: Apache-2.0
"""The migrations of every database with queues."""

from pathlib import Path

from transom.node.migrations import NODE
from transom.runtime.db.migrate import Migrations

MIGRATIONS = (Migrations("queue", Path(__file__).parent / "migrations"), NODE)
