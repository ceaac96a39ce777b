"""The replica's machine, event by event."""

from dataclasses import replace
from itertools import pairwise

from transom.messaging.proto.feed import (
    Apply,
    AskSince,
    AskSnapshot,
    Became,
    Caught,
    Change,
    ChangeSet,
    Effect,
    Event,
    Failed,
    Gap,
    Head,
    Heard,
    Limits,
    Live,
    Loading,
    Paged,
    Replica,
    Stale,
    Subscribed,
    Tick,
    VolatileFeed,
)

LIMITS = Limits(heartbeat_s=1.0, grace_s=0.2, ask_timeout_s=5.0, chunk_rows=2)


class Bench:
    """A machine, a feed, and a clock that the test moves."""

    def __init__(self, tables: tuple[str, ...] = (), epoch: int = 1) -> None:
        self.feed = VolatileFeed(epoch, ["a", "b"])
        self.machine = Replica(tables, LIMITS)
        self.now_s = 10.0
        self.asked: AskSince | AskSnapshot | None = None

    def tell(self, event: Event) -> list[Effect]:
        effects = self.machine.handle(event, self.now_s, 0.5)
        for effect in effects:
            if isinstance(effect, AskSince | AskSnapshot):
                self.asked = effect
        return effects

    def wait(self, seconds: float) -> list[Effect]:
        self.now_s += seconds
        return self.tell(Tick())

    def answer(self) -> list[Effect]:
        ask, self.asked = self.asked, None
        assert ask is not None
        head = self.feed.head()
        if isinstance(ask, AskSince):
            found = self.feed.since(ask.epoch, ask.n, ask.limit)
            return self.tell(Caught(ask.request, None if found is None else tuple(found), head))
        chunk = self.feed.snapshot(sorted(self.machine._tables), ask.after, ask.limit)
        return self.tell(Paged(ask.request, chunk, head))

    def answer_all(self) -> list[Effect]:
        effects: list[Effect] = []
        while self.asked is not None:
            effects += self.answer()
        return effects

    def put(self, name: str, value: int | None, table: str = "a") -> ChangeSet:
        row = None if value is None else {"value": value}
        made = self.feed.change([Change(table, (name,), row)])
        assert made is not None
        return made

    def loaded(self) -> "Bench":
        self.tell(Subscribed())
        self.answer_all()
        assert isinstance(self.machine.state(self.now_s), Live)
        return self


def applied(effects: list[Effect]) -> list[tuple[int, int]]:
    sets = [effect.change_set for effect in effects if isinstance(effect, Apply)]
    return [(made.n, len(made.changes)) for made in sets]


def test_it_loads_page_by_page_and_hands_over_everything_as_one() -> None:
    bench = Bench()
    for number in range(5):
        bench.put(f"k{number}", number)
    effects = bench.tell(Subscribed())
    assert effects == [AskSnapshot(1, None, 2)]
    assert bench.answer() == [AskSnapshot(2, ("a", ("k1",)), 2)]
    assert isinstance(bench.machine.state(bench.now_s), Loading)
    effects = bench.answer_all()
    assert applied(effects) == [(5, 5)]
    assert isinstance(effects[-1], Became)
    assert effects[-1].state == Live(0.0)


def test_steps_while_loading_are_replayed_over_the_pages() -> None:
    bench = Bench()
    for number in range(4):
        bench.put(f"k{number}", number)
    bench.tell(Subscribed())
    bench.answer()
    for made in (bench.put("k0", None), bench.put("k3", 9), bench.put("k00", 1)):
        bench.tell(made)
    effects = bench.answer_all()
    (only,) = [effect.change_set for effect in effects if isinstance(effect, Apply)]
    assert {change.key[0]: change.row for change in only.changes if change.row} == {
        "k00": {"value": 1},
        "k1": {"value": 1},
        "k2": {"value": 2},
        "k3": {"value": 9},
    }
    assert only.n == 7


def test_a_step_in_order_is_applied_at_once_and_again_never() -> None:
    bench = Bench().loaded()
    made = bench.put("x", 1)
    assert bench.tell(made) == [Apply(made)]
    assert bench.tell(made) == []


def test_a_step_ahead_waits_for_the_missing_one_and_is_asked_for_after_the_grace() -> None:
    bench = Bench().loaded()
    first, second = bench.put("x", 1), bench.put("y", 2)
    assert bench.tell(second) == []
    assert applied(bench.tell(first)) == [(1, 1), (2, 1)]
    assert bench.wait(0.5) == []

    bench.put("x", 3)
    bench.tell(bench.put("y", 4))
    assert bench.wait(0.1) == []
    assert bench.wait(0.15) == [AskSince(2, 1, 2, LIMITS.since_sets)]
    assert applied(bench.answer()) == [(3, 1), (4, 1)]


def test_a_lost_last_step_is_known_with_the_next_heartbeat() -> None:
    bench = Bench().loaded()
    bench.put("x", 1)
    bench.now_s += 1
    assert bench.tell(Heard(bench.feed.head())) == []
    bench.wait(0.25)
    assert applied(bench.answer()) == [(1, 1)]


def test_a_wrong_digest_makes_it_stale_at_once_and_is_mended_by_snapshot() -> None:
    bench = Bench().loaded()
    made = bench.put("x", 1)
    bench.tell(replace(made, changes=(Change("a", ("x",), {"value": 666}),)))
    effects = bench.tell(Heard(bench.feed.head()))
    assert [type(effect.state) for effect in effects if isinstance(effect, Became)] == [Stale]
    effects = bench.wait(0.3)
    assert isinstance(bench.asked, AskSnapshot)
    effects = bench.answer_all()
    assert [effect.change_set for effect in effects if isinstance(effect, Apply)] == [made]
    assert isinstance(bench.machine.state(bench.now_s), Live)


def test_digests_that_stay_wrong_are_not_asked_about_without_pause() -> None:
    bench = Bench().loaded()
    wrong = replace(bench.feed.head(), digest=666)
    asks = 0
    bench.tell(Heard(wrong))
    for _ in range(1000):
        bench.wait(0.1)
        if bench.asked is not None:
            asks += 1
            ask, bench.asked = bench.asked, None
            bench.tell(Paged(ask.request, bench.feed.snapshot([], None, 10), wrong))
    assert 10 < asks < 30


def test_a_late_heartbeat_is_compared_at_its_own_step_and_says_nothing_of_now() -> None:
    bench = Bench().loaded()
    bench.tell(bench.put("x", 1))
    late = bench.feed.head()
    bench.now_s += 1
    bench.tell(bench.put("x", 2))
    bench.now_s += 1
    bench.tell(Heard(late))
    assert bench.machine.state(bench.now_s) == Live(1.0)
    bench.now_s += 1.3
    assert isinstance(bench.machine.state(bench.now_s), Stale)


def test_silence_makes_it_stale_after_two_heartbeats_and_it_asks() -> None:
    bench = Bench().loaded()
    assert bench.machine.wake_s(bench.now_s) is not None
    assert bench.wait(2.1) == []
    effects = bench.wait(0.2)
    assert effects == [Became(Stale(10.0))]
    bench.wait(0.3)
    assert isinstance(bench.asked, AskSince)
    assert [type(effect.state) for effect in bench.answer() if isinstance(effect, Became)] == [Live]


def test_a_later_epoch_means_a_snapshot_as_a_difference_and_an_earlier_one_nothing() -> None:
    bench = Bench()
    bench.put("x", 1)
    bench.put("y", 2)
    bench.loaded()
    bench.feed = VolatileFeed(2, ["a", "b"])
    bench.put("x", 1)
    bench.put("z", 3)
    effects = bench.tell(Heard(bench.feed.head()))
    assert [type(effect.state) for effect in effects if isinstance(effect, Became)] == [Stale]
    bench.wait(0.3)
    effects = bench.answer_all()
    (only,) = [effect.change_set for effect in effects if isinstance(effect, Apply)]
    assert {change.key[0]: change.row for change in only.changes} == {"y": None, "z": {"value": 3}}
    assert bench.tell(ChangeSet(1, 3, (Change("a", ("x",), None),))) == []
    assert bench.tell(Heard(Head(1, 99, 0))) == []
    assert bench.machine.position() == (2, 2)


def test_too_old_for_since_means_a_snapshot_unless_it_came_meanwhile() -> None:
    bench = Bench().loaded()
    missing, ahead = bench.put("x", 1), bench.put("x", 2)
    bench.tell(ahead)
    bench.wait(0.3)
    ask = bench.asked
    assert isinstance(ask, AskSince)
    bench.tell(Caught(ask.request, None, bench.feed.head()))
    bench.wait(0.5)
    assert isinstance(bench.asked, AskSnapshot)

    bench = Bench().loaded()
    missing, ahead = bench.put("x", 1), bench.put("x", 2)
    bench.tell(ahead)
    bench.wait(0.3)
    ask, bench.asked = bench.asked, None
    bench.tell(missing)
    assert ask is not None
    bench.tell(Caught(ask.request, None, bench.feed.head()))
    bench.wait(0.5)
    assert bench.asked is None


def test_failures_back_off_to_the_limit_and_a_returning_feed_ends_that() -> None:
    bench = Bench()
    bench.tell(Subscribed())
    asks_s = []
    for _ in range(1200):
        if bench.asked is not None:
            asks_s.append(bench.now_s)
            request, bench.asked = bench.asked.request, None
            bench.tell(Failed(request))
        bench.wait(0.1)
    waits = [later - earlier for earlier, later in pairwise(asks_s)]
    rounded = [round(wait, 6) for wait in waits]
    assert rounded == sorted(rounded)
    assert 7 < waits[-1] <= 10
    bench.tell(Heard(bench.feed.head()))
    bench.wait(0.3)
    assert bench.asked is not None


def test_an_answer_after_its_deadline_is_not_heeded() -> None:
    bench = Bench()
    bench.put("x", 1)
    bench.tell(Subscribed())
    late = bench.asked
    assert late is not None
    bench.wait(5.1)
    chunk = bench.feed.snapshot([], None, 10)
    assert bench.tell(Paged(late.request, chunk, bench.feed.head())) == []
    bench.wait(1)
    assert applied(bench.answer_all()) == [(1, 1)]


def test_a_broken_link_makes_it_ask_though_no_hole_is_known() -> None:
    bench = Bench().loaded()
    bench.put("x", 1)
    bench.tell(Gap())
    bench.wait(0.25)
    assert applied(bench.answer()) == [(1, 1)]


def test_a_replica_of_one_table_is_verified_by_that_tables_digest() -> None:
    bench = Bench(("b",)).loaded()
    assert bench.tell(bench.put("x", 1, "a")) == []
    made = bench.put("x", 1, "b")
    assert bench.tell(made) == [Apply(made)]
    bench.now_s += 1
    bench.tell(Heard(bench.feed.head()))
    assert bench.machine.state(bench.now_s) == Live(0.0)
    wrong = replace(bench.feed.head(), tables={"a": 0, "b": 1})
    assert [type(effect) for effect in bench.tell(Heard(wrong))] == [Became]


def test_a_head_without_digests_by_table_verifies_the_number_alone() -> None:
    bench = Bench(("b",)).loaded()
    bench.now_s += 1
    bench.tell(Heard(replace(bench.feed.head(), tables=None)))
    assert bench.machine.state(bench.now_s) == Live(0.0)


def test_a_feed_that_was_set_back_within_its_epoch_is_followed_again() -> None:
    bench = Bench()
    for number in range(5):
        bench.put(f"k{number}", number)
    bench.loaded()
    bench.feed = VolatileFeed(1, ["a", "b"])
    bench.put("k0", 0)
    for _ in range(10):
        bench.wait(1)
        bench.tell(Heard(bench.feed.head()))
        bench.answer_all()
    assert bench.machine.position() == (1, 1)
    assert isinstance(bench.machine.state(bench.now_s), Live)


def test_pages_that_do_not_lead_on_are_given_up() -> None:
    bench = Bench()
    for number in range(6):
        bench.put(f"k{number}", number)
    bench.tell(Subscribed())
    bench.answer()
    ask = bench.asked
    assert ask is not None
    again = bench.feed.snapshot([], None, 2)
    assert bench.tell(Paged(ask.request, again, bench.feed.head())) == []
    bench.wait(0.5)
    assert bench.asked == AskSnapshot(3, None, 2)
