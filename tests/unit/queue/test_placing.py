"""Which database a new queue goes to."""

from collections import Counter

from transom.queue.logic.placing import Candidate, choose

NAMES = [f"queue-{number}" for number in range(4000)]


def chosen(*candidates: Candidate, flavor: str = "") -> dict[str, str]:
    found = {}
    for name in NAMES:
        candidate = choose("p", name, flavor, candidates)
        assert candidate is not None
        found[name] = candidate.store
    return found


def test_queues_are_spread_by_weight() -> None:
    counts = Counter(chosen(Candidate("a", 100), Candidate("b", 200), Candidate("c", 100)).values())
    assert 850 < counts["a"] < 1150
    assert 1850 < counts["b"] < 2150
    assert 850 < counts["c"] < 1150


def test_a_new_candidate_takes_its_share_and_moves_nothing_else() -> None:
    before = chosen(Candidate("a", 1), Candidate("b", 1))
    after = chosen(Candidate("a", 1), Candidate("b", 1), Candidate("c", 1))
    moved = {name for name in NAMES if before[name] != after[name]}
    assert {after[name] for name in moved} == {"c"}
    assert 1150 < len(moved) < 1520


def test_a_weight_that_falls_gives_queues_away_and_takes_none() -> None:
    before = chosen(Candidate("a", 100), Candidate("b", 100))
    after = chosen(Candidate("a", 50), Candidate("b", 100))
    assert not [name for name in NAMES if before[name] == "b" and after[name] == "a"]


def test_only_those_of_the_flavor_and_of_weight_are_chosen() -> None:
    candidates = (Candidate("a", 1), Candidate("b", 1, "fast"), Candidate("c", 0, "fast"))
    assert set(chosen(*candidates).values()) == {"a"}
    assert set(chosen(*candidates, flavor="fast").values()) == {"b"}
    assert choose("p", "q", "slow", candidates) is None
    assert choose("p", "q", "", [Candidate("a", 0)]) is None


def test_projects_and_names_are_not_mixed_up() -> None:
    candidates = [Candidate(f"s{number}", 1) for number in range(64)]
    one = [choose("a.b", name, "", candidates) for name in NAMES[:50]]
    other = [choose("a", f"b.{name}", "", candidates) for name in NAMES[:50]]
    assert one != other
