"""Which generation of a key is used when."""

from transom.keys.config import KeysConfig
from transom.keys.logic.generations import (
    accepted,
    ended_before_ms,
    for_tickets,
    forgotten_ms,
    is_current,
    kept_ms,
    needed_ms,
    next_generation,
)
from transom.keys.model import GroupKey, Party, PartyKey

CONFIG = KeysConfig()
NOW = 1_000_000_000


def party(*keys: PartyKey) -> Party:
    return Party("a.b", 0, keys)


def key(generation: int, *, used: bool, until_ms: int | None = None) -> PartyKey:
    return PartyKey(generation, b"", 0, NOW if used else None, until_ms)


def test_numbers_grow_with_time_and_never_go_back() -> None:
    assert next_generation(0, NOW) == NOW
    assert next_generation(NOW, NOW) == NOW + 1
    assert next_generation(NOW + 5, NOW) == NOW + 6


def test_a_former_key_signs_until_its_overlap_is_over() -> None:
    found = party(key(2, used=False), key(1, used=True, until_ms=NOW + 1))
    assert [one.generation for one in accepted(found, NOW)] == [2, 1]
    assert [one.generation for one in accepted(found, NOW + 1)] == [2]
    assert found.newest == found.keys[0]
    assert party().newest is None


def test_tickets_are_sealed_under_the_newest_key_that_was_used() -> None:
    def chosen(*keys: PartyKey, at_ms: int = NOW) -> int | None:
        found = for_tickets(party(*keys), at_ms)
        return None if found is None else found.generation

    former = key(1, used=True, until_ms=NOW + 1)
    assert chosen() is None
    assert chosen(key(2, used=False)) == 2
    assert chosen(key(2, used=False), former) == 1
    assert chosen(key(2, used=True), former) == 2
    assert chosen(key(2, used=False), former, at_ms=NOW + 1) == 2
    assert chosen(key(3, used=False), key(2, used=False, until_ms=NOW + 1), former) == 1


def test_the_next_key_of_a_group_is_made_before_the_last_one_ends() -> None:
    assert not is_current(None, NOW, CONFIG)
    made = GroupKey(1, b"", NOW, NOW + 900_000)
    assert is_current(made, NOW, CONFIG)
    assert is_current(made, NOW + 779_999, CONFIG)
    assert not is_current(made, NOW + 780_000, CONFIG)
    assert needed_ms(NOW + 780_000, CONFIG) == made.expires_ms


def test_a_key_of_a_group_can_be_had_for_its_grace_and_the_retention() -> None:
    end_ms = forgotten_ms(NOW, CONFIG)
    assert end_ms - NOW == (600 + 604_800) * 1000
    assert ended_before_ms(end_ms, CONFIG) == NOW
    assert kept_ms(CONFIG) == (3600 + 604_800) * 1000
