# SPDX-License-Identifier: Apache-2.0
"""The tables of a part's events. A part that has events takes this room beside `NODE`."""

from pathlib import Path

from transom.runtime.db.migrate import Migrations

EVENTS = Migrations("events", Path(__file__).parent)
