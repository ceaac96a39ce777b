# SPDX-License-Identifier: Apache-2.0
"""The tables of leases and durable feeds. They lie in each part's own database, beside its data."""

from pathlib import Path

from transom.runtime.db.migrate import Migrations

NODE = Migrations("node", Path(__file__).parent)
