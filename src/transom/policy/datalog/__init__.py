# SPDX-License-Identifier: Apache-2.0
"""Datalog, pure: the language, and an engine that keeps every derived table true.

A text goes `lexer` -> `grammar` -> syntax tree -> `checks` -> core rules -> `plan` -> `code` ->
functions; a change of rows goes through those functions, table by table, and what comes out at the
end is the net change of every table. `workspace` is the door.

No module here does I/O or asks for the time: rows, rules and the time enter as arguments.
"""
