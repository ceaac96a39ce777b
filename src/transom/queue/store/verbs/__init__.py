# SPDX-License-Identifier: Apache-2.0
"""The queue's writes as values: each is one atomic step, and can be carried to who may do it.

A file of SQLite has one writing process. Whoever else wants something written sends the verb to it
(see `queue.bus`); on a database that all may write, the same verb runs where it was made.

Invariants:
1. A verb holds plain data alone; the time and what is random are those of where it runs.
2. `run` changes nothing but the database, and can be run again whole.
"""
