"""A feed and its replicas in a simulated world, by seed: one episode is faults, then quiet.

What is checked, at every step:
1. Order: a replica applies steps of one epoch in rising order, and epochs never fall. (Where rows
   were altered, the repair stands at the step that was wrong.)
2. Atomicity: after each step its rows are exactly what the feed's rows were at that (epoch, n).
3. Honesty: while a replica says Live, its position was the feed's at most `live_s` and the longest
   delay of the network ago, and no table of its was idle for all that time.
And at the end of each episode, when faults have stopped: every replica is live and equal.
In some episodes the network also alters rows; there 2 does not hold, but the end must.
"""

import heapq
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from transom.messaging.proto.feed import (
    Apply,
    AskSince,
    AskSnapshot,
    Became,
    Caught,
    Change,
    ChangeSet,
    Event,
    Failed,
    Gap,
    Heard,
    Limits,
    Live,
    Paged,
    Part,
    Replica,
    Row,
    Subscribed,
    TableIdle,
    Tick,
    VolatileFeed,
    split,
)

from network import Faults, Network

TABLES = ("flavor", "image", "server")
KEYS = 24
PART_CHANGES = 6
HISTORY = 4000
Rows = dict[tuple[str, tuple[str, ...]], Row]
MakeReplica = Callable[[tuple[str, ...], Limits], Replica]


class Divergence(AssertionError):
    """The replica broke a promise."""


class World:
    """Clock, network, the truth, and what the feed was at each of its steps."""

    def __init__(self, seed: int, make_replica: MakeReplica = Replica) -> None:
        self.draws = random.Random(seed)
        self.make_replica = make_replica
        self.now_s = 100.0
        self.steps = 0
        self.quiet = False
        self.truth: Rows = {}
        self.history: dict[tuple[int, int], Rows] = {}
        self.left_s: dict[tuple[int, int], float] = {}
        self.outside: Rows = {}  # what the feed does not know yet, of tables that are idle
        self.idle_s: dict[str, float] = {}  # since when
        self.current: tuple[int, int] | None = None
        self.longest_s = 0.0
        self.altering = self.draws.random() < 0.3
        self.lazy = random.Random(f"{seed} idle").random() < 0.4  # other draws stay as they were
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._scheduled = 0
        self.network = Network(self.call_later, self.draws)
        self.publisher = Publisher(self)
        count = self.draws.randint(1, 4)
        self.followers = [Follower(self, f"replica{number}") for number in range(count)]
        self.publisher.start()

    def call_later(self, delay_s: float, call: Callable[[], None]) -> None:
        self._scheduled += 1
        heapq.heappush(self._heap, (self.now_s + delay_s, self._scheduled, call))

    def run(self, *, steps: int, seconds: float) -> None:
        """Until so many steps were taken or so much time has passed, whichever is first."""
        end_s, last = self.now_s + seconds, self.steps + steps
        while self.steps < last and self._heap[0][0] <= end_s:
            self.now_s, _, call = heapq.heappop(self._heap)
            self.steps += 1
            call()
        if self.steps < last:
            self.now_s = end_s

    def stands_at(self, position: tuple[int, int], rows: Rows) -> None:
        """The feed has made a step (or began)."""
        if self.current is not None:
            self.left_s[self.current] = self.now_s
        self.current = position
        self.history[position] = dict(rows)
        if len(self.history) > HISTORY:
            oldest = next(iter(self.history))
            del self.history[oldest]
            self.left_s.pop(oldest, None)

    def set_faults(self) -> None:
        d = self.draws
        most_s = d.choice([0.01, 0.1, 0.5, 1.5])
        self.network.faults = Faults(
            drop=d.choice([0, 0.02, 0.2, 0.5]), duplicate=d.choice([0, 0.1, 0.4]), most_s=most_s
        )
        self.longest_s = max(self.longest_s, most_s)

    def disturb(self) -> None:
        """Now and then: other faults, partitions, restarts, slow consumers."""
        if self.quiet:
            return
        d = self.draws
        follower = d.choice(self.followers)
        kinds = ["faults", "cut", "cut", "heal", "publisher", "replica", "pause", "gap", "rest"]
        match d.choice([*kinds, "wake"] if self.lazy else kinds[:-1]):
            case "faults":
                self.set_faults()
            case "cut":
                ways = [("feed", follower.name), (follower.name, "feed")]
                for way in d.sample(ways, d.randint(1, 2)):
                    self.network.cut(*way)
            case "heal":
                self.network.heal()
            case "publisher":
                self.publisher.crash()
            case "replica":
                follower.restart()
            case "pause":
                follower.pause(d.uniform(0.1, 4))
            case "gap":
                follower.take(Gap())
            case "rest":
                self.publisher.rest(d.choice(TABLES))
            case "wake":
                self.publisher.wake()
        self.call_later(d.expovariate(0.5), self.disturb)

    def calm(self) -> None:
        self.quiet = True
        self.network.heal()
        self.network.faults = Faults()
        self.publisher.come_up()
        self.publisher.wake()


class Publisher:
    """The owner of the feed. Durable: the feed outlives it. Volatile: it begins a new epoch."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.up = False
        self.durable = world.draws.random() < 0.5
        self.ring_sets = world.draws.choice([4, 30, 200])
        self.feed = self.begin(1)
        self.before: VolatileFeed | None = None  # an owner that has not noticed that it is none
        self.before_until_s = 0.0

    def start(self) -> None:
        self.come_up()
        self.work()
        self.beat()

    def begin(self, epoch: int) -> VolatileFeed:
        feed = VolatileFeed(epoch, TABLES, idle=self.world.idle_s, ring_sets=self.ring_sets)
        rows = [Change(table, key, row) for (table, key), row in self.world.truth.items()]
        feed.change(rows)
        self.world.stands_at((feed.epoch, feed.n), self.world.truth)
        return feed

    def crash(self) -> None:
        if not self.up:
            return
        self.up = False
        if self.world.draws.random() < 0.3:
            self.world.network.leave("feed")
        self.world.call_later(self.world.draws.uniform(0, 6), self.come_up)

    def come_up(self) -> None:
        if self.up:
            return
        draws = self.world.draws
        self.up = True
        self.world.network.join("feed", self.receive)
        restored = self.durable and draws.random() < 0.1
        if restored:
            self.world.truth = dict(draws.choice(list(self.world.history.values())))
        if not self.durable or restored:
            self.before = self.feed
            self.before_until_s = self.world.now_s + draws.choice([0, 1])
            self.feed = self.begin(self.feed.epoch + 1)

    def rest(self, table: str) -> None:
        """Nobody looks at the table any more; it changes all the same."""
        world = self.world
        if self.up and table not in world.idle_s:
            self.feed.rest([table])
            world.idle_s[table] = world.now_s
            world.outside |= {at: row for at, row in world.truth.items() if at[0] == table}

    def wake(self) -> None:
        """All tables are looked at."""
        world = self.world
        if not self.up or not world.idle_s:
            return
        seen: dict[str, dict[tuple[str, ...], Row]] = {table: {} for table in world.idle_s}
        for (table, key), row in world.outside.items():
            seen[table][key] = row
        world.truth = {at: row for at, row in world.truth.items() if at[0] not in seen}
        world.truth |= world.outside
        world.idle_s, world.outside = {}, {}
        made = self.feed.replace(seen)
        if made is not None:
            world.stands_at((made.epoch, made.n), world.truth)
            self.send(made)

    def work(self) -> None:
        """The world changes; the owner, if up, makes a step of it, and sends it, mostly."""
        world, draws = self.world, self.world.draws
        if world.quiet:
            return
        drawn = list(self.draw_changes(draws.choice([1, 1, 2, 3, 20])))
        for change in drawn:
            if change.table in world.idle_s:
                self.put(change, world.outside)
        changes = [change for change in drawn if change.table not in world.idle_s]
        if self.up:
            for change in changes:
                self.put(change, world.truth)
            made = self.feed.change(changes)
            if made is not None:
                world.stands_at((made.epoch, made.n), world.truth)
                crashed = draws.random() < 0.01
                if crashed:
                    self.crash()
                else:
                    self.send(made)
        elif not self.durable:
            for change in changes:
                self.put(change, world.truth)
        world.call_later(draws.expovariate(draws.choice([0.5, 5, 40])), self.work)

    def put(self, change: Change, rows: Rows) -> None:
        if change.row is None:
            rows.pop((change.table, change.key), None)
        else:
            rows[(change.table, change.key)] = change.row

    def draw_changes(self, count: int) -> Iterator[Change]:
        draws = self.world.draws
        for _ in range(count):
            key = (f"k{draws.randrange(KEYS)}",)
            row = None if draws.random() < 0.3 else {"value": draws.randrange(1000)}
            yield Change(draws.choice(TABLES), key, row)

    def send(self, made: ChangeSet) -> None:
        whole = len(made.changes) <= PART_CHANGES
        for follower in self.world.followers:
            for message in (made,) if whole else split(made, PART_CHANGES):
                self.world.network.send("feed", follower.name, message)

    def beat(self) -> None:
        if self.up:
            for follower in self.world.followers:
                self.world.network.send("feed", follower.name, Heard(self.feed.head()))
        self.world.call_later(1.0, self.beat)

    def receive(self, message: tuple[str, int, AskSince | AskSnapshot]) -> None:
        """A request; an owner that is down does not answer."""
        name, incarnation, ask = message
        if not self.up:
            return
        feed = self.feed
        if self.before is not None and self.world.now_s < self.before_until_s:
            feed = self.world.draws.choice([feed, self.before])
        answer: Event
        if isinstance(ask, AskSince):
            found = feed.since(ask.epoch, ask.n, ask.limit)
            sets = None if found is None else tuple(found)
            answer = Caught(ask.request, sets, feed.head())
        else:
            wanted = self.world.followers[int(name.removeprefix("replica"))].tables
            try:
                chunk = feed.snapshot(wanted, ask.after, ask.limit)
                answer = Paged(ask.request, chunk, feed.head())
            except TableIdle:
                answer = Failed(ask.request)
        self.world.network.send("feed", name, (incarnation, answer))


class Follower:
    """A replica and the rows of its consumer."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.incarnation = 0
        draws = world.draws
        self.tables = draws.choice([(), ("server",), ("flavor", "image")])
        self.limits = Limits(
            buffer_changes=draws.choice([4, 40, 5000]),
            since_sets=draws.choice([1, 5, 100]),
            chunk_rows=draws.choice([1, 7, 500]),
            ask_timeout_s=draws.choice([0.5, 4]),
        )
        self.restart()

    def restart(self) -> None:
        self.incarnation += 1
        self.rows: Rows = {}
        self.applied = (-1, -1)
        self.paused_until_s = 0.0
        self.wake_s: float | None = None
        self.machine = self.world.make_replica(self.tables, self.limits)
        self.world.network.join(self.name, self.receive)
        self.take(Subscribed())

    def pause(self, seconds: float) -> None:
        """Its consumer is slow, so what arrives is dropped; it is told when that is over."""
        self.paused_until_s = self.world.now_s + seconds
        self.world.call_later(seconds, lambda: self.take(Gap()))

    def receive(self, message: Any) -> None:
        if self.world.now_s < self.paused_until_s:
            return
        if self.world.altering and isinstance(message, ChangeSet | Part):
            message = self.altered(message)
        if isinstance(message, tuple):
            incarnation, answer = message
            if incarnation == self.incarnation:
                self.take(answer)
        else:
            self.take(message)

    def altered(self, message: ChangeSet | Part) -> ChangeSet | Part:
        draws = self.world.draws
        if self.world.quiet or draws.random() < 0.95:
            return message
        changes = list(message.changes)
        at = draws.randrange(len(changes))
        changes[at] = replace(changes[at], row=draws.choice([None, {"value": -1}]))
        return replace(message, changes=tuple(changes))

    def take(self, event: Event) -> None:
        now_s = self.world.now_s
        for effect in self.machine.handle(event, now_s, self.world.draws.random()):
            match effect:
                case Apply(change_set):
                    self.apply(change_set)
                case AskSince() | AskSnapshot():
                    self.ask(effect)
                case Became():
                    pass
        self.check_honesty()
        wake_s = self.machine.wake_s(now_s)
        if wake_s is not None and wake_s != self.wake_s:
            self.wake_s = wake_s
            self.world.call_later(max(0.0, wake_s - now_s), lambda: self.tick(wake_s))

    def tick(self, wake_s: float) -> None:
        if wake_s == self.wake_s:
            self.wake_s = None
            self.take(Tick())

    def ask(self, ask: AskSince | AskSnapshot) -> None:
        incarnation = self.incarnation
        if not self.world.publisher.up and self.world.draws.random() < 0.5:
            failed = (incarnation, Failed(ask.request))
            self.world.call_later(0.01, lambda: self.receive(failed))
            return
        self.world.network.send(self.name, "feed", (self.name, incarnation, ask))

    def apply(self, change_set: ChangeSet) -> None:
        position = (change_set.epoch, change_set.n)
        repaired = self.world.altering and position == self.applied
        if position <= self.applied and not repaired:
            raise Divergence(f"{self.name} goes from {self.applied} to {position}")
        self.applied = position
        for change in change_set.changes:
            if change.row is None:
                self.rows.pop((change.table, change.key), None)
            else:
                self.rows[(change.table, change.key)] = change.row
        expected = None if self.world.altering else self.world.history.get(position)
        if expected is not None and self.rows != self.wanted(expected):
            raise Divergence(f"{self.name} at {position} is not what the feed was there")

    def wanted(self, rows: Rows) -> Rows:
        if not self.tables:
            return rows
        return {at: row for at, row in rows.items() if at[0] in self.tables}

    def check_honesty(self) -> None:
        now_s = self.world.now_s
        if not isinstance(self.machine.state(now_s), Live):
            return
        position = self.machine.position()
        left_s = self.world.left_s.get(position, now_s)
        allowed_s = self.limits.live_s + self.world.longest_s + 1e-6
        if position not in self.world.history or now_s - left_s > allowed_s:
            raise Divergence(
                f"{self.name} says live at {position}, left {now_s - left_s:.3f} s ago"
            )

        idle_s = [at for table, at in self.world.idle_s.items() if self.wanted({(table, ()): {}})]
        if idle_s and now_s - min(idle_s) > allowed_s:
            raise Divergence(f"{self.name} says live, a table is idle since {min(idle_s):.3f}")

    def check_equal(self) -> None:
        state = self.machine.state(self.world.now_s)
        if not isinstance(state, Live):
            raise Divergence(f"{self.name} is {state} at {self.world.now_s:.3f} s, faults are over")
        if self.rows != self.wanted(self.world.truth):
            raise Divergence(f"{self.name} differs in the end")


EPISODE_STEPS = 1500
QUIET_S = 30.0


def episode(seed: int, make_replica: MakeReplica = Replica) -> int:
    """One world from its beginning to quiet; answers the steps taken. Raises: Divergence."""
    world = World(seed, make_replica)
    try:
        world.set_faults()
        world.disturb()
        world.run(steps=EPISODE_STEPS, seconds=1e9)
        world.calm()
        world.run(steps=10**9, seconds=QUIET_S)
        for follower in world.followers:
            follower.check_equal()
    except Exception as error:
        error.add_note(f"episode of seed {seed}, step {world.steps}")
        raise
    return world.steps


def campaign(steps: int, seed: int, make_replica: MakeReplica = Replica) -> tuple[int, int]:
    """Episodes of rising seeds until `steps` steps were taken; answers (episodes, steps)."""
    taken = episodes = 0
    while taken < steps:
        taken += episode(seed + episodes, make_replica)
        episodes += 1
    return episodes, taken
