# SPDX-License-Identifier: Apache-2.0
"""What a caller may give to others: calls on one queue, signed."""

from collections.abc import Sequence

from transom.errors import BadRequest
from transom.queue.app.access import Access
from transom.queue.app.signing import Signing
from transom.queue.logic import signing
from transom.queue.logic.signing import SignedUrl
from transom.runtime.auth.context import Context

DEFAULT_PATHS = ("messages",)
DEFAULT_METHODS = ("GET",)
DEFAULT_LIFE_MS = 86_400_000

NEEDED: dict[str, dict[str, tuple[str, ...]]] = {
    "messages": {
        "GET": ("messages:get_all", "messages:get"),
        "HEAD": ("messages:get_all", "messages:get"),
        "POST": ("messages:create",),
        "DELETE": ("messages:delete", "messages:delete_all"),
    },
    "claims": {
        "GET": ("claims:get",),
        "HEAD": ("claims:get",),
        "POST": ("claims:create", "claims:update", "claims:delete"),  # touch, reject, release
        "PATCH": ("claims:update",),
        "DELETE": ("claims:delete",),
    },
    "subscriptions": {
        "GET": ("subscription:get_all", "subscription:get"),
        "HEAD": ("subscription:get_all", "subscription:get"),
        "POST": ("subscription:create",),
        "PUT": ("subscription:confirm",),
        "PATCH": ("subscription:update",),
        "DELETE": ("subscription:delete",),
    },
}
"""The rules of all calls that a method on a path, and on what is below it, comes to."""


class Shares:
    """The use case."""

    def __init__(self, access: Access, signing: Signing) -> None:
        self._access = access
        self._signing = signing

    async def share(
        self,
        context: Context,
        name: str,
        paths: Sequence[str] | None,
        methods: Sequence[str] | None,
        expires: str | None,
    ) -> SignedUrl:
        """What is empty or None has the default. Raises: BadRequest, Forbidden, Unavailable."""
        place = self._access.place(context, "queues:share", name)
        paths, methods = paths or DEFAULT_PATHS, methods or DEFAULT_METHODS
        for path in paths:
            if path not in signing.SHARED:
                raise BadRequest(f"{path!r} cannot be shared; {_listed(signing.SHARED)} can.")
        for method in methods:
            if method not in signing.METHODS:
                raise BadRequest(f"{method!r} is none of {_listed(sorted(signing.METHODS))}.")
        for path in paths:
            for method in methods:
                for rule in NEEDED[path].get(method, ()):
                    self._access.enforce(context, rule)
        return self._signing.sign(place, paths, methods, self._end_ms(expires))

    def _end_ms(self, expires: str | None) -> int:
        now_ms = self._signing.now_ms()
        if expires is None:
            return now_ms + DEFAULT_LIFE_MS
        end_ms = signing.moment_of(expires)
        if end_ms is None:
            raise BadRequest(
                "`expires` is a time of ISO 8601, in UTC if it has no offset: 2026-01-02T03:04:05."
            )
        if end_ms <= now_ms:
            raise BadRequest("`expires` has passed already; give a later time.")
        return end_ms


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words)
