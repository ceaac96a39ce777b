# SPDX-License-Identifier: Apache-2.0
"""Datalog, pure: the language, and an engine that keeps every derived table true.

A text goes `lexer` -> `grammar` -> syntax tree -> `checks` -> core rules -> `plan` -> `functions`;
a change of rows goes through those functions, table by table, and what comes out at the end is the
net change of every table. `workspace` is the door.

| where | what |
|---|---|
| `language` | texts: read, told of their slips, printed |
| `rules` | names, columns, checks, lint, and changes of a program |
| `builtins` | functions as literals |
| `engine` | tables, plans, transactions |
| `reasons` | why a row is there, and why not |
| `simulation` | what would be if |
| `cases` | facts and tests from files |
| `core`, `values`, `faults`, `states` | rules, cells, what is wrong, what is known: all use them |
| `questions`, `workspace` | what is asked, and the door |

No module here does I/O or asks for the time: rows, rules and the time enter as arguments.
"""
