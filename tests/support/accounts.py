# SPDX-License-Identifier: Apache-2.0
"""Identity under fire: tokens revoked, users and projects made and deleted.

Promises: a token revoked with 204 is refused for ever; one that was not goes on working; what was
made with 201 is there, what was deleted with 204 is not.
"""

import http.client
import random

from support.load import Hand, Session
from support.stack import Stack, wait_for

PROBE = "/queue/v2/queues?limit=1"


class Revoker(Hand):
    """Gets tokens, uses them so that they are cached, revokes most, and looks again."""

    def __init__(self, stack: Stack, token: str, seed: str) -> None:
        super().__init__(stack, token)
        self.faults: list[str] = []
        self.revoked: list[str] = []
        self.kept: list[str] = []
        self._draw = random.Random(seed)

    def turn(self, session: Session) -> None:
        text = session.new_token()
        if text is None or session.ask("GET", PROBE, token=text)[0] != 200:
            self.refuse()
            return
        if self._draw.random() < 0.2:
            self.kept.append(text)
            return
        if session.revoke(text) != 204:
            self.refuse()
            return
        self.revoked.append(text)
        for known in {text, self._draw.choice(self.revoked)}:
            status, _ = session.ask("GET", PROBE, token=known)
            if status < 300:
                self.faults.append(f"a revoked token was let in with {status}")

    def missing(self, session: Session) -> list[str]:
        """When all is quiet: each token once more."""
        faults = list(self.faults)
        for texts, wanted in ((self.revoked, 401), (self.kept, 200)):
            told = [session.ask("GET", PROBE, token=text)[0] for text in texts]
            wrong = [status for status in told if status != wanted]
            if wrong:
                faults.append(
                    f"{len(wrong)} of {len(texts)} tokens answer {wrong[0]}, not {wanted}"
                )
        return faults


class Registrar(Hand):
    """Makes users and projects by turns and deletes some of them."""

    def __init__(self, stack: Stack, token: str, seed: str) -> None:
        super().__init__(stack, token)
        self.made: dict[str, set[str]] = {"users": set(), "projects": set()}
        self.gone: dict[str, set[str]] = {"users": set(), "projects": set()}
        self._draw = random.Random(seed)
        self._number = 0

    def turn(self, session: Session) -> None:
        kind = ("users", "projects")[self._number % 2]
        self._number += 1
        wanted = {kind[:-1]: {"name": f"{kind}-{self._number}", "domain_id": "default"}}
        status, answer = session.ask("POST", f"/identity/v3/{kind}", wanted)
        if status != 201:
            self.refuse()
            return
        made = self.made[kind]
        made.add(answer[kind[:-1]]["id"])
        if self._draw.random() < 0.4:
            one = self._draw.choice(sorted(made))
            made.discard(one)  # from here on it may be gone
            status, _ = session.ask("DELETE", f"/identity/v3/{kind}/{one}")
            if status == 204:
                self.gone[kind].add(one)
        self._stop.wait(0.05)

    def missing(self, session: Session) -> list[str]:
        faults = []
        for kind, made in self.made.items():
            found = {item["id"] for item in session.ask("GET", f"/identity/v3/{kind}")[1][kind]}
            if made - found:
                faults.append(f"{len(made - found)} of {len(made)} {kind} are lost")
            if self.gone[kind] & found:
                faults.append(f"{len(self.gone[kind] & found)} deleted {kind} are back")
        return faults


def answers_again(session: Session, within_s: float = 30.0) -> None:
    """Returns when the doors let a valid token in."""

    def there() -> bool:
        try:
            return session.ask("GET", PROBE)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    wait_for(there, within_s)
