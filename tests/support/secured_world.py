"""A key server within the process, parties of both suites, and a wire that can be tampered with."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from transom.errors import KeyUnavailable, SecurityError
from transom.messaging.drivers.base import Address, Delivery, Driver, Sent, Subscription
from transom.messaging.drivers.memory import MemoryDriver
from transom.messaging.secured import SecuredDriver, Security
from transom.messaging.security import tickets
from transom.messaging.security.certificates import Certificate, Identity, issue
from transom.messaging.security.names import is_member, serves
from transom.messaging.security.sealing import new_signing_key
from transom.messaging.security.tickets import Grant, Purpose, Ticket
from transom.messaging.transport import Transport
from transom.messaging.url import TransportURL

from virtual import VirtualClock, seeded_randomness

DAY_MS = 86_400_000
SKEW_MS = 60_000


@dataclass
class Registered:
    """A party at the key server. `keys`: newest first."""

    name: str
    patterns: tuple[str, ...]
    keys: list[bytes]
    identity: Identity
    certificate: bytes = b""


@dataclass
class KeyWorld:
    """The key server. `away`: it does not answer; `refusing`: it answers with no."""

    clock: Any
    random: Callable[[int], bytes]
    lifetime_ms: int = 3_600_000
    everyone: str = ""
    """If set, the party that serves whatever is asked for: for suites that make up addresses."""
    away: bool = False
    delay_s: float = 0.0
    asked: list[tuple[Purpose, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.authority = new_signing_key(self.random)
        self.authorities = (self.authority.public_key().public_bytes_raw(),)
        self.parties: dict[str, Registered] = {}
        self.groups: dict[str, dict[int, bytes]] = {}
        self.nonces: set[bytes] = set()

    def register(self, name: str, *patterns: str) -> Registered:
        identity = Identity.make(self.random)
        party = Registered(name, patterns, [self.random(32)], identity)
        party.certificate = self.certify(party, identity.signing_key, identity.agreement_key)
        self.parties[name] = party
        return party

    def certify(self, party: Registered, signing_key: bytes, agreement_key: bytes) -> bytes:
        now_ms = self.clock.now_ms()
        certificate = Certificate(
            party.name, party.patterns, signing_key, agreement_key,
            now_ms - SKEW_MS, now_ms + 10 * DAY_MS,
        )  # fmt: skip
        return issue(certificate, self.authority)

    def rotate_group(self, group: str) -> None:
        """A new generation; its number is when it is made."""
        keys = self.groups.setdefault(group, {})
        keys[max(self.clock.now_ms(), max(keys, default=0) + 1)] = self.random(32)

    def security(self, party: Registered, suite: str, **settings: Any) -> Security:
        if suite == "public-key":
            given: dict[str, Any] = {
                "identity": party.identity,
                "certificate": party.certificate,
                "authorities": self.authorities,
            }
        else:
            given = {"long_term_keys": tuple(party.keys)}
        return Security(party.name, WorldSource(self), suite=suite, **{**given, **settings})  # type: ignore[arg-type]

    def grant(self, purpose: Purpose, source: str, data: bytes) -> bytes:
        request = tickets.read_request(data)
        party = self.parties.get(source)
        assert request.source == source
        if party is None:
            raise KeyUnavailable("unknown party", lasting=True)
        self.asked.append((purpose, source, request.destination))
        for key in party.keys:
            try:
                tickets.check_request(data, key, now_ms=self.clock.now_ms(), skew_ms=SKEW_MS)
                break
            except SecurityError as error:
                refused = error
        else:
            raise KeyUnavailable(refused.text, lasting=True)
        assert request.nonce not in self.nonces
        self.nonces.add(request.nonce)
        certificate = self.certify(party, request.signing_key, request.agreement_key)
        granted = Grant(
            request.nonce, purpose, source, request.destination, self.clock.now_ms(),
            self.lifetime_ms, certificate, self.authorities,
        )  # fmt: skip
        return tickets.seal_grant(
            self._filled(granted, party, request.generation), key, self.random
        )

    def _filled(self, grant: Grant, party: Registered, generation: int) -> Grant:
        from msgspec.structs import replace

        if grant.purpose is Purpose.ENROL:
            return grant
        if grant.purpose is Purpose.TICKET:
            found = self.find(grant.destination)
            return self._ticketed(replace(grant, destination=found.name), found.keys[0], 0)
        group = grant.destination
        if grant.purpose is Purpose.GROUP_KEY and not is_member(party.name, party.patterns, group):
            raise KeyUnavailable("no member", lasting=True)
        newest = max(self.groups.get(group, {}), default=0)
        if newest + DAY_MS < self.clock.now_ms() + self.lifetime_ms:
            self.rotate_group(group)
        keys = self.groups[group]
        generation = generation or max(keys)
        if generation not in keys:
            raise KeyUnavailable("no such generation", lasting=True)
        key, end_ms = keys[generation], generation + DAY_MS
        if grant.purpose is Purpose.GROUP_KEY:
            return replace(grant, key=key, generation=generation, key_end_ms=end_ms)
        return self._ticketed(grant, key, generation)

    def _ticketed(self, grant: Grant, key: bytes, generation: int) -> Grant:
        from msgspec.structs import replace

        session_key = self.random(32)
        ticket = Ticket(
            grant.source, grant.destination, grant.issued_ms, grant.lifetime_ms, session_key,
            grant.certificate,
        )  # fmt: skip
        sealed = tickets.issue_ticket(ticket, key, self.random, generation=generation)
        return replace(grant, key=session_key, generation=generation, ticket=sealed)

    def find(self, destination: str) -> Registered:
        if self.everyone:
            return self.parties[self.everyone]
        if destination in self.parties:
            return self.parties[destination]
        for at, sign in enumerate(destination):
            if sign == ".":
                topic, server = destination[:at], destination[at + 1 :]
                for party in self.parties.values():
                    if serves(party.name, party.patterns, topic, server):
                        return party
        raise KeyUnavailable("no such party", lasting=True)


class WorldSource:
    """What a party sees of the key server."""

    def __init__(self, world: KeyWorld) -> None:
        self._world = world

    async def grant(self, purpose: Purpose, source: str, request: bytes) -> bytes:
        await self._reach()
        return self._world.grant(purpose, source, request)

    async def certificates(
        self, *, group: str = "", topic: str = "", server: str = ""
    ) -> Sequence[bytes]:
        await self._reach()
        return [party.certificate for party in self._world.parties.values()]

    async def close(self) -> None:
        """Nothing to let go."""

    async def _reach(self) -> None:
        await asyncio.sleep(self._world.delay_s)
        if self._world.away:
            raise KeyUnavailable("the key server is away")


class Wire:
    """A driver under the stage that keeps what passes, and what an attacker puts in its place.

    `change`: (address, body) -> (address, body) or None to swallow; applied to what is sent.
    """

    def __init__(self, inner: Driver) -> None:
        self.inner = inner
        self.passed: list[tuple[Address, bytes]] = []
        self.change: Callable[[Address, bytes], tuple[Address, bytes] | None] | None = None

    async def start(self, report: Callable[[Any], None]) -> None:
        await self.inner.start(report)

    async def stop(self) -> None:
        await self.inner.stop()

    def reply_address(self) -> Address:
        return self.inner.reply_address()

    def send(
        self, address: Address, body: bytes, sent: Sent, *, deadline_s: float,
        mandatory: bool = False,
    ) -> None:  # fmt: skip
        self.passed.append((address, body))
        changed = (address, body) if self.change is None else self.change(address, body)
        if changed is None:
            sent(None)
        else:
            self.inner.send(*changed, sent, deadline_s=deadline_s, mandatory=mandatory)

    async def listen(
        self, addresses: Sequence[Address], deliver: Callable[[Delivery], None], *, prefetch: int
    ) -> Subscription:
        return await self.inner.listen(addresses, deliver, prefetch=prefetch)

    def inject(self, address: Address, body: bytes) -> None:
        """As anybody who can reach the bus."""
        now_s = asyncio.get_running_loop().time()
        self.inner.send(address, body, lambda error: None, deadline_s=now_s + 60)


@dataclass
class Station:
    """A party on the bus."""

    transport: Transport
    driver: SecuredDriver
    wire: Wire

    @property
    def refused(self) -> dict[str, int]:
        return dict(self.driver.refused)


class Town:
    """A memory bus with a key server: `async with Town(seed, suite, mode) as town`."""

    def __init__(self, seed: int, suite: str, mode: str = "sign", **settings: Any) -> None:
        self.clock = VirtualClock()
        self.random = seeded_randomness(seed)
        self.keys = KeyWorld(self.clock, seeded_randomness(seed + 1))
        self.suite = suite
        self.settings = {"mode": mode, **settings}
        self.chance = random.Random(seed)
        self._transports: list[Transport] = []

    async def __aenter__(self) -> "Town":
        return self

    async def __aexit__(self, *_: object) -> None:
        for transport in reversed(self._transports):
            await transport.stop()

    async def station(self, name: str, *patterns: str, **settings: Any) -> Station:
        """A started transport of the party, which is registered if it is not yet."""
        party = self.keys.parties.get(name) or self.keys.register(name, *patterns)
        security = self.keys.security(party, self.suite, **{**self.settings, **settings})
        url = TransportURL.parse("memory://town")
        wire = Wire(MemoryDriver(url, clock=self.clock, random=self.random))
        driver = SecuredDriver(wire, security, clock=self.clock, random=self.random)
        transport = Transport(
            url, driver, clock=self.clock, random=self.random,
            may_answer=driver.may_answer, answering=driver.answering,
        )  # fmt: skip
        await transport.start()
        self._transports.append(transport)
        return Station(transport, driver, wire)

    async def stop(self, station: Station) -> None:
        self._transports.remove(station.transport)
        await station.transport.stop()
