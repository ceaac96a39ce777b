# SPDX-License-Identifier: Apache-2.0
"""Databases on a PostgreSQL server. Loaded only where one is configured.

A part's tables lie in a schema of their own (`transom_queue`), so that the parts of one cloud share
a database. Nobody outlives a server that does not answer: see `database` for the times.
"""

from transom.runtime.db.postgres.database import PostgresDatabase

__all__ = ["PostgresDatabase"]
