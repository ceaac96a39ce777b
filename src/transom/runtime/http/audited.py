# SPDX-License-Identifier: Apache-2.0
"""What a door tells the audit log of its requests.

Told are all requests that change something or would have, and those to read, or of routine (see
`Route`), that were denied. A line is made of the token's context, the request line and the outcome:
no header, no query and no body goes into it, so no secret can.

Invariants:
1. The line is written when the outcome is known, before the answer goes out.
2. Where the audit log is needed (`[log] audit = "required"`) and cannot be written, nothing is
   carried out that would change something, and no success is told whose line is not written.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from time import time
from typing import Any, Protocol

import msgspec

from transom.errors import Unavailable
from transom.runtime.auth.context import Context
from transom.runtime.telemetry.audit import (
    NAME_MAX,
    NOBODY,
    AuditLog,
    Caller,
    Entry,
    claimed,
    shown,
)
from transom.runtime.telemetry.correlation import current

READS = frozenset(["GET", "HEAD"])
DENIALS = frozenset([401, 403, 429])
CALLERS_MAX = 1000
_callers: dict[tuple[Any, ...], msgspec.Raw] = {}


class Asked(Protocol):
    """What is told of a request: see `cycle.Cycle`."""

    @property
    def method(self) -> str: ...

    @property
    def raw_path(self) -> bytes: ...

    @property
    def host(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Audit:
    """One mount's. `mount`: its prefix. `routine`: of the route that is asked for."""

    log: AuditLog
    mount: str
    routine: bool = False

    def admit(self, method: str, request_id: str) -> None:
        """Raises: Unavailable for a write that could not be audited, where it has to be."""
        if not self._reads(method) and not self.log.ready():
            current.set(Context(request_id))
            raise unaudited()

    def told(self, asked: Asked, request_id: str, status: int, duration_s: float) -> bool:
        """Whether the answer may go out. `status` 0: the outcome is not known."""
        reads = self._reads(asked.method)
        if reads and status not in DENIALS:
            return True
        now_s = time()
        written = self.log.write(self._entry(asked, request_id, status, duration_s, now_s), now_s)
        return written or reads or not self.log.needed

    def _reads(self, method: str) -> bool:
        return self.routine or method in READS

    def _entry(
        self,
        asked: Asked,
        request_id: str,
        status: int,
        duration_s: float,
        now_s: float,
    ) -> Entry:
        context = current.get()
        return Entry(
            datetime.fromtimestamp(now_s, UTC),
            request_id,
            "allowed" if 0 < status < 400 else _refused(status),
            status,
            asked.method,
            self.mount,
            shown(asked.raw_path.decode("latin-1")),
            int(duration_s * 1e6),
            asked.host,
            _caller(context) if context is not None and context.user_id else NOBODY,
            claimed(request_id),
        )


def _caller(context: Context) -> msgspec.Raw:
    """Most requests are of few callers, so what is written of them is kept."""
    key = (
        context.user_id,
        context.user_name,
        context.user_domain_id,
        context.project_id,
        context.project_name,
        context.project_domain_id,
        context.domain_id,
        context.system,
        context.roles,
        context.credential_id,
    )
    found = _callers.get(key)
    if found is None:
        if len(_callers) >= CALLERS_MAX:
            _callers.clear()
        caller = Caller(
            context.user_id,
            shown(context.user_name, NAME_MAX),
            context.user_domain_id,
            context.project_id,
            shown(context.project_name, NAME_MAX),
            context.project_domain_id,
            context.domain_id,
            context.system,
            [shown(role, NAME_MAX) for role in sorted(context.roles)],
            context.credential_id,
        )
        found = _callers[key] = msgspec.Raw(msgspec.json.encode(caller))
    return found


def unaudited() -> Unavailable:
    """What is answered instead of a success that could not be audited."""
    return Unavailable(
        "The audit log cannot be written, so nothing may be changed now; try again later.",
        retry_after_s=5,
    )


def _refused(status: int) -> str:
    if status == 0:
        return "unknown"
    return "denied" if status in DENIALS else "failed"
