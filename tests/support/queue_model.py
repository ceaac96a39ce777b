"""A queue as a plain list: what the store must answer, written down without any index or SQL."""

from dataclasses import dataclass, field

from transom.errors import CallerError
from transom.queue.model import ClaimNotFound, ClaimUnknown, MessageClaimed, NotClaimed


@dataclass
class Held:
    id: str
    body: bytes
    client: bytes
    created_ms: int
    ttl_s: int
    expires_ms: int
    delayed_until_ms: int
    claim: bytes | None = None
    deliveries: int = 0


@dataclass
class Lease:
    renewed_ms: int
    end_ms: int
    ttl_s: int


@dataclass
class ModelQueue:
    """`now_ms` is set by the test before each step."""

    now_ms: int = 0
    messages: list[Held] = field(default_factory=list)
    claims: dict[bytes, Lease] = field(default_factory=dict)

    def alive(self, claim: bytes | None) -> bool:
        return claim in self.claims and self.claims[claim].end_ms > self.now_ms

    def present(self) -> list[Held]:
        return [held for held in self.messages if held.expires_ms > self.now_ms]

    def free(self) -> list[Held]:
        return [
            held
            for held in self.present()
            if not self.alive(held.claim) and held.delayed_until_ms <= self.now_ms
        ]

    def post(
        self, ids: list[str], bodies: list[bytes], client: bytes, ttl_s: int, delay_s: int
    ) -> None:
        for message_id, body in zip(ids, bodies, strict=True):
            self.messages.append(
                Held(
                    message_id,
                    body,
                    client,
                    self.now_ms,
                    ttl_s,
                    self.now_ms + ttl_s * 1000,
                    self.now_ms + delay_s * 1000,
                )
            )

    def listed(
        self, *, include_claimed: bool, include_delayed: bool, not_from: bytes | None
    ) -> list[Held]:
        return [
            held
            for held in self.present()
            if (include_claimed or not self.alive(held.claim))
            and (include_delayed or held.delayed_until_ms <= self.now_ms)
            and held.client != not_from
        ]

    def take(self, claim: bytes, ttl_s: int, grace_s: int, limit: int) -> list[Held]:
        taken = self.free()[:limit]
        if taken:
            self.claims[claim] = Lease(self.now_ms, self.now_ms + ttl_s * 1000, ttl_s)
        for held in taken:
            held.claim = claim
            held.deliveries += 1
            self._prolong(held, ttl_s, grace_s)
        return taken

    def of_claim(self, claim: bytes) -> list[Held]:
        if not self.alive(claim):
            raise ClaimNotFound
        return [held for held in self.present() if held.claim == claim]

    def renew(self, claim: bytes, ttl_s: int, grace_s: int) -> None:
        if not self.alive(claim):
            raise ClaimNotFound
        self.claims[claim] = Lease(self.now_ms, self.now_ms + ttl_s * 1000, ttl_s)
        for held in self.messages:
            if held.claim == claim:
                self._prolong(held, ttl_s, grace_s)

    def release(self, claim: bytes) -> None:
        self.claims.pop(claim, None)

    def delete(self, message_id: str, claim: bytes | None) -> CallerError | None:
        found = next((held for held in self.present() if held.id == message_id), None)
        if found is None:
            return None
        held_by = found.claim if self.alive(found.claim) else None
        if held_by == claim:
            self.messages.remove(found)
            return None
        if claim is None:
            return MessageClaimed()
        if held_by is None:
            return NotClaimed()
        return MessageClaimed() if self.alive(claim) else ClaimUnknown()

    def pop(self, limit: int) -> list[Held]:
        popped = self.free()[:limit]
        for held in popped:
            self.messages.remove(held)
        return popped

    def clear(self) -> None:
        self.messages.clear()
        self.claims.clear()

    def _prolong(self, held: Held, ttl_s: int, grace_s: int) -> None:
        if held.expires_ms < self.now_ms + ttl_s * 1000:
            held.ttl_s = ttl_s + grace_s
            held.expires_ms = self.now_ms + held.ttl_s * 1000
