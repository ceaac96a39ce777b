# SPDX-License-Identifier: Apache-2.0
"""Tokens, validated by a Keystone v3 and remembered for a while.

Invariants:
1. Fails closed: no answer from Keystone in time means Unavailable, never a context. What was
   validated before goes on until its time is over.
2. A context is believed at most `cache_s`, never past its token's end, and not once the revocation
   counter has moved on since it was asked for. A token that has ended is believed only for a
   service that shows a token of its own beside it, and is remembered apart from all others.
3. One token is asked for once at a time, however many requests wait for it; one that leaves does
   not end the asking for the others.
4. Tokens are neither kept nor logged: entries are found by the SHA-256 of theirs.

Source: https://docs.openstack.org/api-ref/identity/v3/#validate-and-show-information-for-token
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec

from transom.errors import Unauthorized, Unavailable
from transom.runtime.auth.context import SERVICE_ROLE, Context
from transom.runtime.auth.keystone import Keystone
from transom.runtime.clock import Clock

CACHE_S = 300
ABSENT_S = 5
ENTRIES_MAX = 10_000
TOKEN_LENGTH_MAX = 8192
_ENDED = b"\x00ended\x00"
"""No token begins so: it is no text that a header can hold."""
_STOPPING = "The service is about to stop or restart; try again."


@dataclass(slots=True)
class _Entry:
    """`context` None: the token was not valid when asked for."""

    context: Context | None
    until_ms: int
    generation: int


class TokenValidator:
    """Whose a token is. A `lifecycle.Service`; fits `Authenticate` of the doors.

    `generation`: a counter that every revocation raises, as cheap as an attribute.
    """

    def __init__(
        self,
        keystone: Keystone,
        clock: Clock,
        generation: Callable[[], int],
        cache_s: int = CACHE_S,
        entries_max: int = ENTRIES_MAX,
    ) -> None:
        self._keystone = keystone
        self._cache_ms = cache_s * 1000
        self._now_ms = clock.now_ms
        self._generation = generation
        self._entries_max = entries_max
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._flights: dict[tuple[bytes, int], asyncio.Task[Context | None]] = {}
        self._given_up = False

    async def start(self) -> None:
        self._given_up = False
        await self._keystone.start()

    async def stop(self) -> None:
        self.give_up()
        if self._flights:
            await asyncio.wait(list(self._flights.values()), timeout=1.0)
        await self._keystone.stop()

    def give_up(self) -> None:
        """Asks nobody any more: who waits for an answer, or needs one from now on, is told to try
        again. For doors that drain and serve the very Keystone that would be asked.
        """
        self._given_up = True
        for flight in self._flights.values():
            flight.cancel()

    def cached(self, token: str) -> Context | None:
        """The token's context if it is known to be valid now; asks nobody.

        Measured: 1.5 microseconds, of which SHA-256 0.7 (bench/http/token_check.py).
        """
        key = sha256(token.encode("latin-1")).digest()
        entry = self._entries.get(key)
        if (
            entry is None
            or entry.until_ms <= self._now_ms()
            or entry.generation != self._generation()
        ):
            return None
        self._entries.move_to_end(key)
        return entry.context

    async def validate(self, token: str) -> Context:
        """Raises: Unauthorized, Unavailable."""
        context = await self._known(token, ended=False)
        if context is None:
            raise Unauthorized("The token is not valid, or no longer; ask for a new one.")
        return context

    async def validate_for(self, service_token: str, token: str) -> Context:
        """The user's context for a service that acts for them and shows its own token beside
        theirs, which may have ended meanwhile. Raises: Unauthorized, Unavailable.

        Source: https://docs.openstack.org/keystonemiddleware/latest/middlewarearchitecture.html
        """
        service = await self._known(service_token, ended=False)
        if service is None or SERVICE_ROLE not in service.roles:
            raise Unauthorized(
                "X-Service-Token is not valid, or its role is not service; ask for a new one, or "
                "leave it out."
            )
        context = await self._known(token, ended=False) or await self._known(token, ended=True)
        if context is None:
            raise Unauthorized("The token in X-Auth-Token is not valid; ask for a new one.")
        return context

    async def _known(self, token: str, *, ended: bool) -> Context | None:
        """None if it is not valid. `ended`: it may be past its end."""
        if not token or len(token) > TOKEN_LENGTH_MAX or not token.isascii():
            return None
        key = sha256((_ENDED if ended else b"") + token.encode("latin-1")).digest()
        entry = self._entries.get(key)
        if entry is not None and self._fresh(entry):
            return entry.context
        return await self._asked(key, token, ended)

    async def _asked(self, key: bytes, token: str, ended: bool) -> Context | None:
        if self._given_up:
            raise Unavailable(_STOPPING)
        flight = self._flight(key, token, ended)
        try:
            return await asyncio.shield(flight)
        except asyncio.CancelledError:
            own = asyncio.current_task()
            if not flight.cancelled() or own is None or own.cancelling():
                raise
            raise Unavailable(_STOPPING) from None  # it was given up, not we

    def _fresh(self, entry: _Entry) -> bool:
        return entry.until_ms > self._now_ms() and entry.generation == self._generation()

    def _flight(self, key: bytes, token: str, ended: bool) -> "asyncio.Task[Context | None]":
        """The asking that is under way, unless a revocation came after it began."""
        place = (key, self._generation())
        flight = self._flights.get(place)
        if flight is None:
            flight = asyncio.get_running_loop().create_task(self._ask(place, token, ended))
            self._flights[place] = flight
            flight.add_done_callback(lambda done: self._landed(place, done))
        return flight

    def _landed(self, place: tuple[bytes, int], flight: "asyncio.Task[Context | None]") -> None:
        del self._flights[place]
        if not flight.cancelled():
            flight.exception()  # its waiters, if any are left, have it

    async def _ask(self, place: tuple[bytes, int], token: str, ended: bool) -> Context | None:
        key, generation = place
        document = await self._keystone.token_document(token, allow_expired=ended)
        now_ms = self._now_ms()
        context = None if document is None else context_of(document)
        if context is None or (context.expires_ms <= now_ms and not ended):
            self._keep(key, _Entry(None, now_ms + ABSENT_S * 1000, generation))
            return None
        until_ms = now_ms + self._cache_ms
        if not ended:
            until_ms = min(context.expires_ms, until_ms)
        self._keep(key, _Entry(context, until_ms, generation))
        return context

    def _keep(self, key: bytes, entry: _Entry) -> None:
        self._entries[key] = entry
        # What is not valid goes first: nobody can crowd out the others with tokens made up.
        self._entries.move_to_end(key, last=entry.context is not None)
        while len(self._entries) > self._entries_max:
            self._entries.popitem(last=False)


class _Named(msgspec.Struct):
    id: str
    name: str = ""


class _Domained(msgspec.Struct):
    id: str
    name: str = ""
    domain: _Named | None = None


class _Token(msgspec.Struct):
    user: _Domained
    expires_at: str
    project: _Domained | None = None
    domain: _Named | None = None
    system: dict[str, Any] | None = None
    roles: list[_Named] = []
    is_admin_project: bool = True
    application_credential: _Named | None = None


class _Document(msgspec.Struct):
    token: _Token


def context_of(document: bytes) -> Context:
    """The context that Keystone's token document describes, without a request id.

    Raises: Unavailable for what is no such document.
    """
    try:
        token = msgspec.json.decode(document, type=_Document).token
        expires_ms = round(datetime.fromisoformat(token.expires_at).timestamp() * 1000)
    except (msgspec.DecodeError, ValueError) as error:
        raise Unavailable(
            "Keystone's answer could not be understood; try again.", detail=str(error)
        ) from None
    project = token.project or _Domained("")
    return Context(
        "",
        user_id=token.user.id,
        user_name=token.user.name,
        user_domain_id=_domain_id(token.user),
        project_id=project.id,
        project_name=project.name,
        project_domain_id=_domain_id(project),
        domain_id="" if token.domain is None else token.domain.id,
        system=bool(token.system and token.system.get("all")),
        roles=frozenset(role.name.lower() for role in token.roles),
        expires_ms=expires_ms,
        is_admin_project=token.is_admin_project,
        credential_id=token.application_credential.id if token.application_credential else "",
    )


def _domain_id(owned: _Domained) -> str:
    return "" if owned.domain is None else owned.domain.id
