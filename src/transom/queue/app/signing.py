# SPDX-License-Identifier: Apache-2.0
"""Pre-signed URLs: given to whoever may do what they allow, and honoured until they end.

The key is `[queue] signed_url_key`, or one that follows from the master key: then URLs outlive
restarts, and one rotation of the master key.

Invariants:
1. Nobody signs what they may not do: the rules of all calls that a URL admits are asked first.
2. A request that shows a signature has it checked, whatever else it says; one that does not hold
   is answered 404, as if nothing were there.
3. A URL admits to the queue of the project that it was signed for, and to nothing else.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from transom.errors import ConfigError, NotFound, Unavailable
from transom.queue.logic import signing
from transom.queue.logic.signing import SignedUrl
from transom.queue.model import Place
from transom.runtime.auth.context import Context
from transom.runtime.clock import Clock
from transom.runtime.secrets import Secret

PURPOSE = "queue:signed-urls"
HEADERS = ("url-signature", "url-methods", "url-paths", "url-expires", "x-project-id")
USER_ID = "pre-signed-url"
"""Whom the audit log names: there is no user, and the project says whose queue it is."""

RawHeaders = Sequence[tuple[bytes, bytes]]


class MasterKeys(Protocol):
    """Where keys for purposes come from: `runtime.sealing.Sealer`."""

    def derived(self, purpose: str) -> tuple[bytes, ...]:
        """One of each master key, the first one's first. Raises: ConfigError."""


class Signing:
    """`master_keys`: None where there are none, and only `given` may sign."""

    def __init__(self, master_keys: MasterKeys | None, given: Secret, clock: Clock) -> None:
        self._master_keys = master_keys
        self._given = given
        self._clock = clock
        self._known: tuple[bytes, ...] = ()

    def now_ms(self) -> int:
        return self._clock.now_ms()

    def sign(
        self, place: Place, paths: Sequence[str], methods: Sequence[str], expires_ms: int
    ) -> SignedUrl:
        """`paths`: below the queue, as in `messages`. Raises: Unavailable."""
        whole = tuple(sorted({f"/v2/queues/{place.name}/{path}" for path in paths}))
        chosen, expires = tuple(sorted(set(methods))), signing.expires_text(expires_ms)
        key = self._keys()[0]
        made = signing.signature(key, whole, chosen, place.project_id, expires)
        return SignedUrl(whole, chosen, place.project_id, expires, made)

    def admit(self, method: str, path: str, headers: RawHeaders) -> Context | None:
        """For `Mount.admits`. None if the request shows no signature. Raises: NotFound."""
        shown = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
        return self.admit_shown(method, path, shown)

    def admit_shown(self, method: str, path: str, shown: Mapping[str, str]) -> Context | None:
        """As `admit`; `shown`: lower-case name -> value."""
        if HEADERS[0] not in shown:
            return None
        signature, methods, paths, expires, project_id = (shown.get(name, "") for name in HEADERS)
        url = SignedUrl(
            tuple(paths.split(",")), tuple(methods.split(",")), project_id, expires, signature
        )
        expires_ms = signing.moment_of(expires)
        if not project_id or expires_ms is None or not self._holds(url, method, path):
            raise NotFound("The signature does not hold for this, or it has ended.")
        return Context(
            "", USER_ID, USER_ID, project_id=project_id, expires_ms=expires_ms, signed=True
        )

    def _holds(self, url: SignedUrl, method: str, path: str) -> bool:
        now_ms = self._clock.now_ms()
        if any(signing.admits(key, url, method, path, now_ms) for key in self._known):
            return True
        before, found = self._known, self._keys()
        fresh = [key for key in found if key not in before]  # the master key was rotated
        return any(signing.admits(key, url, method, path, now_ms) for key in fresh)

    def _keys(self) -> tuple[bytes, ...]:
        if self._given:
            self._known = (self._given.reveal().encode(),)
        elif self._master_keys is None:
            raise Unavailable("URLs cannot be signed here: there is no master key.")
        else:
            try:
                self._known = self._master_keys.derived(PURPOSE)
            except ConfigError as error:
                raise Unavailable(
                    "URLs cannot be signed now, since the master key is not here.",
                    detail=error.text,
                ) from error
        return self._known
