# SPDX-License-Identifier: Apache-2.0
"""Who asked, and how that is answered.

Invariant: this only saves work. All that an answer needs is in `Asked`, which is had from the
request's delivery: nobody loses an answer, or gets another's, by what is remembered or forgotten.
"""

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from transom.messaging.security.sessions import Session

if TYPE_CHECKING:
    from transom.messaging.secured.outgoing import Outlet

CALLERS_MAX = 4096


class Asked(NamedTuple):
    """What an answer is sealed for: the session of its request, and no other.

    `reply_to`: as the request's metadata say; `encrypted`: whether the request was.
    """

    session: Session
    reply_to: str
    encrypted: bool


class Callers:
    """Ready ways back. Bounded; what was not used for longest is forgotten first."""

    def __init__(self, callers_max: int = CALLERS_MAX) -> None:
        self._outlets: OrderedDict[Asked, Outlet] = OrderedDict()
        self._max = callers_max

    def __len__(self) -> int:
        return len(self._outlets)

    def get(self, asked: Asked) -> "Outlet | None":
        outlet = self._outlets.get(asked)
        if outlet is not None:
            self._outlets.move_to_end(asked)
        return outlet

    def put(self, asked: Asked, outlet: "Outlet") -> None:
        self._outlets[asked] = outlet
        self._outlets.move_to_end(asked)
        if len(self._outlets) > self._max:
            self._outlets.popitem(last=False)

    def forget(self, now_ms: int) -> None:
        """Whose ticket has ended."""
        for asked in [one for one in self._outlets if one.session.expires_ms <= now_ms]:
            del self._outlets[asked]
