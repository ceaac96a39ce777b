"""The registry's table against a model, and views that follow it through losses."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from transom.messaging.drivers.base import Address, Kind
from transom.messaging.registry import (
    Change,
    Entry,
    MergedView,
    RegistryTable,
    RegistryView,
)

LIFETIME_S = 3.0
PROCESSES = st.sampled_from(["p1", "p2", "p3", "p4"])
ADDRESSES = st.lists(
    st.sampled_from(
        [
            Address(Kind.TOPIC, "t"),
            Address(Kind.FANOUT, "t"),
            Address(Kind.SERVER, "t", "s1"),
            Address(Kind.NOTIFICATION, "n", "info"),
            Address(Kind.NOTIFICATION, "n", "info", pool="audit"),
        ]
    ),
    max_size=4,
    unique=True,
).map(tuple)


class RegistryAgainstModel(RuleBasedStateMachine):
    """The model is two plain dictionaries; one view hears every change, one only some."""

    def __init__(self) -> None:
        super().__init__()
        self.table = RegistryTable(LIFETIME_S)
        self.now_s = 0.0
        self.served: dict[str, tuple[Address, ...]] = {}
        self.renewed_s: dict[str, float] = {}
        self.revision = 0
        self.view = RegistryView()
        self.merged = MergedView([self.view])
        self.view.replace("e", 0, (), settled=True)

    @rule(process=PROCESSES, addresses=ADDRESSES)
    def register(self, process: str, addresses: tuple[Address, ...]) -> None:
        self.revision += 1
        changed = self.table.register(process, self.revision, addresses, self.now_s)
        assert changed == (self.served.get(process) != addresses)
        self.served[process] = addresses
        self.renewed_s[process] = self.now_s

    @rule(process=PROCESSES, addresses=ADDRESSES)
    def an_older_registration_changes_nothing(
        self, process: str, addresses: tuple[Address, ...]
    ) -> None:
        if process in self.served:
            assert not self.table.register(process, -1, addresses, self.now_s)
            self.renewed_s[process] = self.now_s

    @rule(process=PROCESSES)
    def renew(self, process: str) -> None:
        assert self.table.renew(process, 0, self.now_s) == (process in self.served)
        if process in self.served:
            self.renewed_s[process] = self.now_s

    @rule(process=PROCESSES)
    def leave(self, process: str) -> None:
        assert self.table.leave(process) == (self.served.pop(process, None) is not None)

    @rule(passed_s=st.sampled_from([0.1, 1.0, 2.9, 3.0]))
    def time_passes(self, passed_s: float) -> None:
        self.now_s += passed_s
        late = {p for p in self.served if self.now_s - self.renewed_s[p] >= LIFETIME_S}
        assert set(self.table.expire(self.now_s)) == late
        for process in late:
            del self.served[process]

    @rule()
    def the_view_hears_the_changes(self) -> None:
        changes = self.table.changes(self.view.number)
        assert changes is not None
        changed = self.view.apply("e", changes)
        assert changed is not None
        self.check_view(changed)

    @rule()
    def the_view_misses_a_change_and_knows_it(self) -> None:
        changes = self.table.changes(self.view.number)
        assert changes is not None
        if len(changes) > 1:
            assert self.view.apply("e", changes[1:]) is None
        entries = self.table.entries()
        self.check_view(self.view.replace("e", self.table.number, entries, settled=True))

    def check_view(self, changed: tuple[str, ...]) -> None:
        assert self.view.number == self.table.number
        before = set(self.merged.processes())
        assert set(self.merged.update(changed)) == before - self.served.keys()
        assert {p: self.merged.serves(p) for p in self.merged.processes()} == self.served

    @invariant()
    def lookups_agree(self) -> None:
        for address in {a for served in self.served.values() for a in served}:
            plain = Address(address.kind, address.name, address.part, address.exchange)
            expected = {
                process
                for process, served in self.served.items()
                if plain in {Address(a.kind, a.name, a.part, a.exchange) for a in served}
            }
            assert set(self.table.lookup(plain)) == expected
        assert self.table.lookup(Address(Kind.TOPIC, "nobody")) == ()


TestRegistryAgainstModel = RegistryAgainstModel.TestCase
TestRegistryAgainstModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_each_pool_is_told_apart() -> None:
    view = RegistryView()
    merged = MergedView([view])
    plain = Address(Kind.NOTIFICATION, "n", "info")
    pooled = Address(Kind.NOTIFICATION, "n", "info", pool="audit")
    entries = (Entry("p1", 1, (plain,), 0.0), Entry("p2", 1, (pooled, plain), 0.0))
    merged.update(view.replace("e", 2, entries, settled=True))
    assert merged.pools(plain) == {"": ("p1", "p2"), "audit": ("p2",)}
    assert merged.lookup(plain) == ("p1", "p2")


def test_a_view_keeps_whom_a_restarted_registry_does_not_know_yet() -> None:
    view = RegistryView()
    topic = Address(Kind.TOPIC, "t")
    view.replace("old", 7, (Entry("p1", 1, (topic,), 0.0),), settled=True)
    assert view.replace("new", 0, (), settled=False) == ()
    assert view.processes() == ("p1",)
    assert view.replace("new", 0, (), settled=True) == ("p1",)
    assert view.processes() == ()


def test_a_view_takes_no_change_of_another_epoch() -> None:
    view = RegistryView()
    view.replace("old", 1, (), settled=True)
    table = RegistryTable(LIFETIME_S)
    table.register("p", 1, (Address(Kind.TOPIC, "t"),), 0.0)
    assert view.apply("new", table.changes(0) or ()) is None


def test_changes_too_old_to_be_known_are_told_as_such() -> None:
    table = RegistryTable(LIFETIME_S)
    for _ in range(600):
        table.register("p", 1, (), 0.0)
        table.leave("p")
    assert table.changes(0) is None
    assert len(table.changes(1200 - 5) or ()) == 5
    assert table.changes(1201) is None


WORK, MORE = Address(Kind.TOPIC, "work"), Address(Kind.TOPIC, "more")


def test_of_two_registries_that_differ_the_later_revision_holds() -> None:
    one, two = RegistryView(), RegistryView()
    merged = MergedView([one, two])
    merged.update(one.replace("a", 1, (Entry("p", 7, (MORE,), 0.0),), settled=True))
    merged.update(two.replace("b", 1, (Entry("p", 6, (WORK,), 0.0),), settled=True))
    assert merged.serves("p") == (MORE,)
    merged.update(two.replace("b", 2, (Entry("p", 8, (WORK, MORE), 0.0),), settled=True))
    assert merged.serves("p") == (WORK, MORE)


def test_a_process_is_gone_when_no_registry_names_it() -> None:
    one, two = RegistryView(), RegistryView()
    merged = MergedView([one, two])
    for view, epoch in ((one, "a"), (two, "b")):
        merged.update(view.replace(epoch, 1, (Entry("p", 1, (WORK,), 0.0),), settled=True))
    changes = (Change(2, "p", None, 1),)
    assert merged.update(one.apply("a", changes) or ()) == ()
    assert merged.lookup(WORK) == ("p",)
    assert merged.update(two.apply("b", changes) or ()) == ("p",)
    assert merged.lookup(WORK) == ()


def test_a_registry_that_restarts_empty_takes_nobody_who_lives_away() -> None:
    one, two = RegistryView(), RegistryView()
    merged = MergedView([one, two])
    entries = (Entry("p", 1, (WORK,), 0.0), Entry("q", 1, (WORK,), 0.0))
    for view, epoch in ((one, "a"), (two, "b")):
        merged.update(view.replace(epoch, 2, entries, settled=True))
    assert merged.update(one.replace("new", 0, (), settled=False)) == ()
    assert merged.update(one.replace("new", 1, entries[:1], settled=True)) == ()
    assert merged.lookup(WORK) == ("p", "q"), "the other registry still sees it"
    assert merged.update(two.forget()) == ("q",)
    assert merged.lookup(WORK) == ("p",)


def test_a_view_that_was_forgotten_takes_no_change_before_the_whole() -> None:
    view = RegistryView()
    view.replace("a", 1, (Entry("p", 1, (WORK,), 0.0),), settled=True)
    assert view.forget() == ("p",)
    assert view.apply("a", (Change(2, "p", (MORE,), 2),)) is None
