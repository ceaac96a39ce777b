# SPDX-License-Identifier: Apache-2.0
"""The queue's verbs on its database: one verb, one atomic step.

A verb takes the transaction, and the time where it needs one; it may be run again whole.
The statements run on SQLite and PostgreSQL alike (see `runtime.db.dialect`).
"""
