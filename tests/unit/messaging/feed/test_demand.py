"""What is wanted of a feed: by whom, for how long, and what an idle table is to its replica."""

from transom.messaging.proto.feed import (
    Apply,
    AskSince,
    AskSnapshot,
    Caught,
    Change,
    ChangeSet,
    Chunk,
    Effect,
    Event,
    Head,
    Heard,
    Limits,
    Live,
    Paged,
    Replica,
    Stale,
    Subscribed,
    Tick,
    row_hash,
)
from transom.messaging.proto.feed.demand import REPLICAS_MAX, Demand
from transom.messaging.proto.feed.wire import (
    decode_head,
    encode_changes,
    encode_head,
    schema_of,
)

ONE = Change("t", ("a",), {"v": 1})
DIGEST = row_hash("t", ("a",), {"v": 1})
KEPT = Head(1, 1, DIGEST, {"t": DIGEST, "u": 0}, schema="f0")
IDLE = Head(1, 1, DIGEST, {"t": DIGEST, "u": 0}, frozenset(["t"]))


def test_wishes_are_bounded_and_where_one_found_no_room_all_is_wanted() -> None:
    demand = Demand(["a", "b"])
    for number in range(REPLICAS_MAX):
        demand.want(f"r{number}", ["a", "unknown"], 10.0, 0.0)
    assert demand.wanted(1.0) == {"a"}
    demand.want("one more", ["b"], 20.0, 1.0)
    assert demand.wanted(1.0) == {"a", "b"}
    assert demand.replicas() == {"a": REPLICAS_MAX}
    assert demand.wake_s() == 10.0
    demand.forget(10.0)
    assert demand.wanted(10.0) == {"a", "b"}
    assert demand.wake_s() == 20.0
    assert demand.wanted(20.0) == frozenset()
    demand.forget(20.0)
    assert demand.wake_s() is None


def test_a_wish_without_tables_is_for_all_and_one_that_is_over_is_taken_back() -> None:
    demand = Demand(["a", "b"])
    demand.want("r", [], 10.0, 0.0)
    assert demand.wanted(0.0) == {"a", "b"}
    demand.want("r", ["b"], 10.0, 0.0)
    assert demand.wanted(0.0) == {"b"}
    demand.want("r", ["b"], 0.0, 0.0)
    assert demand.wanted(0.0) == frozenset()
    assert demand.wake_s() is None


class Followed:
    """A machine that is fed, and the last thing it asked for."""

    def __init__(self, *tables: str) -> None:
        self.machine = Replica(tables, Limits())
        self.now_s = 0.0
        self.asked: AskSince | AskSnapshot | None = None
        self.applied: list[ChangeSet] = []

    def take(self, event: Event, after_s: float = 0.0) -> list[Effect]:
        self.now_s += after_s
        effects = self.machine.handle(event, self.now_s, 0.5)
        for effect in effects:
            match effect:
                case AskSince() | AskSnapshot():
                    self.asked = effect
                case Apply(change_set):
                    self.applied.append(change_set)
        return effects

    def load(self, head: Head) -> None:
        """Its rows come, and with them this head."""
        self.take(Subscribed())
        assert isinstance(self.asked, AskSnapshot)
        self.take(Paged(self.asked.request, Chunk(1, 1, (ONE,), None), head))


def test_a_replica_is_not_live_while_nobody_keeps_its_table_up_to_date() -> None:
    followed = Followed("t")
    assert followed.machine.age_s(0.0) is None
    followed.load(KEPT)
    assert isinstance(followed.machine.state(0.0), Live)
    for _ in range(3):
        followed.take(Heard(IDLE), 1.0)
    assert isinstance(followed.machine.state(followed.now_s), Stale)
    assert followed.machine.age_s(followed.now_s) == 3.0
    followed.take(Heard(KEPT), 1.0)
    assert followed.machine.state(followed.now_s) == Live(0.0)
    assert len(followed.applied) == 1


def test_an_idle_table_is_nothing_to_a_replica_of_another_and_all_to_one_of_all() -> None:
    other, of_all = Followed("u"), Followed()
    other.load(IDLE)
    of_all.load(IDLE)
    assert isinstance(other.machine.state(0.0), Live)
    assert not isinstance(of_all.machine.state(0.0), Live)


def test_a_replica_of_an_idle_table_asks_less_and_less_and_takes_no_needless_snapshot() -> None:
    followed = Followed("t")
    followed.load(KEPT)
    asked: list[AskSince | AskSnapshot] = []
    while followed.now_s < 120:
        followed.take(Heard(IDLE), 0.5)
        followed.take(Tick(), 0.5)
        if followed.asked is not None and followed.asked not in asked:
            asked.append(followed.asked)
            followed.take(Caught(followed.asked.request, (), IDLE))
    assert 8 < len(asked) < 30
    assert all(isinstance(ask, AskSince) for ask in asked[1:])


def test_heads_bring_what_is_idle_and_what_they_were_sent_under() -> None:
    assert decode_head(encode_head(IDLE)) == IDLE
    assert decode_head(encode_head(KEPT)) == KEPT
    assert "idle" not in encode_head(KEPT)
    assert schema_of(encode_changes(ChangeSet(1, 1, (ONE,)), "f0")) == "f0"
    assert schema_of(encode_changes(ChangeSet(1, 1, (ONE,)))) == schema_of(None) == ""
