# SPDX-License-Identifier: Apache-2.0
"""A whole Transom under load of everything that the queue can do.

Beside the load of `fire`: posts with keys and delays, over HTTP and WebSocket, to an encrypted
queue with a subscriber that fails and stalls; claims over several queues that wait, whose messages
are touched, released, rejected, redriven.
"""

import contextlib
from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import Self

from support import parts
from support.fire import Fire
from support.keyed import Keyed, KeyedSocket, Numbered
from support.load import Session
from support.parts import PartsLedger, PartsWorker, Redriver
from support.stack import Stack, wait_for
from support.strict_receiver import strict_receiver

SEALED = "sealed"
HEARD_AT = "/heard"
POLICY = {"retries_with_no_delay": 1000, "minimum_delay": 1, "maximum_delay": 11}
PATIENCE_S = 20.0
NEEDS = {"TRANSOM_QUEUE__WEBHOOK_ALLOW": "127.0.0.0/8"}
"""What the environment of the stack has to hold."""


class WholeFire(Fire):
    def __init__(self, stack: Stack, seed: int, watching: Sequence[Stack] = ()) -> None:
        super().__init__(stack, seed, watching)
        token = self.token
        self._open = ExitStack()
        self._receiver = self._open.enter_context(strict_receiver(seed))
        self._sealed = [
            Keyed(stack, token, [SEALED], "http"),
            KeyedSocket(stack, token, [SEALED], "socket"),
        ]
        self._posters = [
            Keyed(stack, token, parts.QUEUES, "first"),
            KeyedSocket(stack, token, parts.QUEUES, "second"),
        ]
        self._parts = PartsLedger()
        workers = [PartsWorker(stack, token, self._parts, f"{seed}-{name}") for name in range(2)]
        redriver = Redriver(stack, token, self._parts)
        self.hands += [*self._sealed, *self._posters, *workers, redriver]

    def light(self) -> Self:
        with closing(Session(self.stack.url, self.token)) as session:
            parts.prepare(session)
            path = f"/queue/v2/queues/{SEALED}"
            made = session.ask("PUT", path, {"_enable_encrypt_messages": True})[0]
            assert made in (201, 204), made
            wanted = {
                "subscriber": self._receiver.url + HEARD_AT,
                "ttl": 7200,
                "options": {"_retry_policy": POLICY},
            }
            status, answer = session.ask("POST", f"{path}/subscriptions", wanted)
            assert status == 201, answer
        return super().light()

    def close(self) -> None:
        super().close()
        self._open.close()

    def told(self) -> dict[str, int]:
        keyed = [*self._sealed, *self._posters]
        return {
            **super().told(),
            "keyed": sum(len(some) for one in keyed for some in one.posted.values()),
            "posted again": sum(one.again for one in keyed),
            **self._parts.counts,
            "deletions of several": len(self._parts.done),
            "heard": len(self._receiver.first_times(HEARD_AT)),
        }

    def missing(self, session: Session) -> list[str]:
        faults = super().missing(session)
        faults += parts.missing(session, self._parts, self._posters)
        found = [Numbered.of(one["body"]) for one in parts.listing(session, SEALED)]
        for poster in self._sealed:
            faults += poster.missing(SEALED, found)
        return faults + self._unheard(found)

    def _unheard(self, found: Sequence[Numbered]) -> list[str]:
        """The subscriber has it all, in the queue's order."""
        before = -1
        while (now := len(self._receiver.first_times(HEARD_AT))) < len(found) and now > before:
            before = now
            with contextlib.suppress(AssertionError):
                wait_for(lambda: self._receiver.has(HEARD_AT, len(found)), PATIENCE_S)
        heard = [Numbered.of(text) for text in self._receiver.first_times(HEARD_AT)]
        if heard == list(found):
            return []
        pairs = zip(heard, found, strict=False)
        at = next((at for at, (one, other) in enumerate(pairs) if one != other), len(heard))
        return [f"the subscriber heard {len(heard)} of {len(found)}, other ones from {at} on"]
