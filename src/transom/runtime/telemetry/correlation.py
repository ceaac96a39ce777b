# SPDX-License-Identifier: Apache-2.0
"""On whose behalf this task runs: what every log line and every call that follows is marked with.

Whoever takes a request (a door, a server on the bus) sets `current`; tasks started from there
inherit it.
"""

from contextvars import ContextVar

from transom.runtime.auth.context import Context

current: ContextVar[Context | None] = ContextVar("transom_context", default=None)
