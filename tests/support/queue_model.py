"""Queues as plain lists: what the store must answer, written down without any index or SQL."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from transom.errors import CallerError
from transom.queue.model import (
    ClaimNotFound,
    ClaimUnknown,
    Death,
    MessageClaimed,
    NoDeadLetters,
    NotClaimed,
    Reason,
)

TRAIL = 10


@dataclass(eq=False)
class Held:
    """A message. `id` is "" where it was moved and not seen since."""

    id: str
    body: bytes
    client: bytes
    created_ms: int
    ttl_s: int
    expires_ms: int
    delayed_until_ms: int
    key: str | None = None
    claim: bytes | None = None
    claim_end_ms: int = 0
    deliveries: int = 0
    dead: bool = False
    deaths: tuple[Death, ...] = ()


@dataclass
class Lease:
    renewed_ms: int
    end_ms: int
    ttl_s: int


@dataclass
class Letters:
    queue: str
    claims: int | None
    ttl_s: int | None


@dataclass
class ModelQueue:
    """One of them. `keys`: until when, and whose id, by key."""

    name: str
    queues: "Model"
    messages: list[Held] = field(default_factory=list)
    claims: dict[bytes, Lease] = field(default_factory=dict)
    keys: dict[str, tuple[int, str]] = field(default_factory=dict)
    letters: Letters | None = None
    exists: bool = False

    @property
    def now_ms(self) -> int:
        return self.queues.now_ms

    def alive(self, claim: bytes | None) -> bool:
        return claim in self.claims and self.claims[claim].end_ms > self.now_ms

    def holder(self, held: Held) -> bytes | None:
        return held.claim if held.claim_end_ms > self.now_ms else None

    def present(self) -> list[Held]:
        return [held for held in self.messages if held.expires_ms > self.now_ms]

    def free(self) -> list[Held]:
        return [
            held
            for held in self.present()
            if self.holder(held) is None and held.delayed_until_ms <= self.now_ms
        ]

    def known(self, key: str | None) -> str | None:
        end_ms, message_id = self.keys.get(key or "", (0, ""))
        return message_id if end_ms > self.now_ms else None

    def post(self, held: Held, window_s: int) -> None:
        self.exists = True
        self.messages.append(held)
        if held.key:
            self.keys[held.key] = (self.now_ms + window_s * 1000, held.id)

    def listed(
        self, *, include_claimed: bool, include_delayed: bool, not_from: bytes | None
    ) -> list[Held]:
        return [
            held
            for held in self.present()
            if (include_claimed or self.holder(held) is None)
            and (include_delayed or held.delayed_until_ms <= self.now_ms)
            and held.client != not_from
        ]

    def take(self, claim: bytes, ttl_s: int, grace_s: int, limit: int) -> list[Held]:
        self._bury(limit)
        taken = self.free()[:limit]
        end_ms = self.now_ms + ttl_s * 1000
        if taken:
            self.claims[claim] = Lease(self.now_ms, end_ms, ttl_s)
        for held in taken:
            held.claim, held.deliveries = claim, held.deliveries + 1
            self._hold(held, ttl_s, grace_s)
        return taken

    def of_claim(self, claim: bytes) -> list[Held]:
        return [held for held in self.present() if self.holder(held) == claim]

    def renew(self, claim: bytes, ttl_s: int, grace_s: int) -> None:
        self._require(claim)
        held = self.of_claim(claim)
        self.claims[claim] = Lease(self.now_ms, self.now_ms + ttl_s * 1000, ttl_s)
        for one in held:
            self._hold(one, ttl_s, grace_s)

    def touch(self, claim: bytes, ids: Sequence[str], ttl_s: int, grace_s: int) -> list[str]:
        self._require(claim)
        held, lost = self._sorted(claim, ids)
        for one in held:
            self._hold(one, ttl_s, grace_s)
            lease = self.claims[claim]
            lease.end_ms = max(lease.end_ms, one.claim_end_ms)
        return lost

    def release(self, claim: bytes, delay_s: int) -> None:
        for held in self.of_claim(claim):
            self._free(held, delay_s)
        self.claims.pop(claim, None)

    def release_some(self, claim: bytes, ids: Sequence[str], delay_s: int) -> list[str]:
        self._require(claim)
        held, lost = self._sorted(claim, ids)
        for one in held:
            self._free(one, delay_s)
        return lost

    def reject(self, claim: bytes, ids: Sequence[str] | None, text: str) -> list[str]:
        self._require(claim)
        if self.letters is None:
            raise NoDeadLetters
        held, lost = self._sorted(claim, ids) if ids is not None else (self.of_claim(claim), [])
        for one in sorted(held, key=self.messages.index):
            self._die(one, self.letters, Reason.REJECTED, text)
        if ids is None:
            self.claims.pop(claim)
        return lost

    def redrive(self, limit: int, ids: Sequence[str] | None, to: str | None) -> tuple[int, int]:
        """How many moved, and how many are left."""
        dead = [held for held in self.present() if held.dead]
        free = [held for held in dead if self.holder(held) is None]
        going = [held for held in free if ids is None or held.id in ids][:limit]
        for held in going:
            target = to or held.deaths[0].queue
            self._move(held, target, held.deaths[0].ttl_s, dead=False, deaths=held.deaths)
        return len(going), len(dead) - len(going)

    def delete(self, message_id: str, claim: bytes | None) -> CallerError | None:
        found = next((held for held in self.present() if held.id == message_id), None)
        if found is None:
            return None
        held_by = self.holder(found)
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

    def _require(self, claim: bytes) -> None:
        if not self.alive(claim):
            raise ClaimNotFound

    def _sorted(self, claim: bytes, ids: Sequence[str]) -> tuple[list[Held], list[str]]:
        held = {one.id: one for one in self.of_claim(claim)}
        return [held[one] for one in ids if one in held], [one for one in ids if one not in held]

    def _hold(self, held: Held, ttl_s: int, grace_s: int) -> None:
        held.claim_end_ms = self.now_ms + ttl_s * 1000
        if held.expires_ms < held.claim_end_ms:
            held.ttl_s = ttl_s + grace_s
            held.expires_ms = self.now_ms + held.ttl_s * 1000

    def _free(self, held: Held, delay_s: int) -> None:
        held.claim, held.claim_end_ms = None, 0
        held.delayed_until_ms = self.now_ms + delay_s * 1000

    def _bury(self, limit: int) -> None:
        letters = self.letters
        if letters is None or letters.claims is None:
            return
        most = letters.claims
        while dying := [held for held in self.free()[:limit] if held.deliveries >= most]:
            for held in dying:
                text = f"It was claimed {most} times and not deleted."
                self._die(held, letters, Reason.CLAIMED_TOO_OFTEN, text)

    def _die(self, held: Held, letters: Letters, reason: Reason, text: str) -> None:
        now_ms, ttl_s = self.now_ms, letters.ttl_s or held.ttl_s
        death = Death(self.name, held.id, reason, text, held.deliveries, now_ms, held.ttl_s)
        deaths = (death, *held.deaths)[:TRAIL]
        self._move(held, letters.queue, ttl_s, dead=True, deaths=deaths)

    def _move(
        self, held: Held, to: str, ttl_s: int, *, dead: bool, deaths: tuple[Death, ...]
    ) -> None:
        now_ms = self.now_ms
        self.messages.remove(held)
        target = self.queues.of[to]
        target.exists = True
        target.messages.append(
            replace(
                held, id="", created_ms=now_ms, ttl_s=ttl_s, expires_ms=now_ms + ttl_s * 1000,
                delayed_until_ms=now_ms, claim=None, claim_end_ms=0, deliveries=0, dead=dead,
                deaths=deaths,
            )
        )  # fmt: skip


class Model:
    """Several queues of one project. `now_ms` is set by the test before each step."""

    def __init__(self, *names: str) -> None:
        self.now_ms = 0
        self.of = {name: ModelQueue(name, self) for name in names}
