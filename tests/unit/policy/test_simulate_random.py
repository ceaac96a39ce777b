# SPDX-License-Identifier: Apache-2.0
"""Random simulations, by seed, against a model that tries every value for every variable.

The state has the tables `b` and `c` (facts) and `d` and `e` (rules, and facts too); the action
policy has actions `f` and `g`, a helper `h`, effects on `b`, `c` and `d`, and `result`. All tables
have one column but `c` and `g`, which have two. A rule reads tables that come before its own.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product

import pytest

from transom.policy.datalog.simulation.simulate import simulate
from transom.policy.datalog.workspace import Workspace

from support.datalog_picture import picture

WIDTHS = {"c": 2, "c+": 2, "c-": 2, "g": 2}
STATE = ["b", "c", "d", "e"]
THEORY = [*STATE, "f", "g", "h", "b+", "b-", "c+", "c-", "d+", "d-", "result"]
VALUES = (1, 2, 3)
Rows = dict[str, set[tuple[int, ...]]]
Atom = tuple[str, tuple[int | str, ...]]


@dataclass(frozen=True)
class Clause:
    heads: tuple[Atom, ...]
    body: tuple[tuple[bool, Atom], ...] = ()

    def __str__(self) -> str:
        head = ", ".join(map(text, self.heads))
        body = ", ".join(f"{'' if holds else 'not '}{text(atom)}" for holds, atom in self.body)
        return f"{head} :- {body}" if body else head


def text(atom: Atom) -> str:
    return f"{atom[0]}({', '.join(map(str, atom[1]))})"


def rows(of: Rows, table: str) -> set[tuple[int, ...]]:
    return of.setdefault(table, set())


# The model


def bindings(clause: Clause, of: Rows) -> Iterator[dict[int | str, int]]:
    """In the order of the values of variables, as they come in the body."""
    positive = [term for holds, (_, terms) in clause.body if holds for term in terms]
    names = list(dict.fromkeys(term for term in positive if isinstance(term, str)))
    for values in product(VALUES, repeat=len(names)):
        found: dict[int | str, int] = dict(zip(names, values, strict=True))
        if all(holds == (plugged(atom, found) in rows(of, atom[0])) for holds, atom in clause.body):
            yield found


def plugged(atom: Atom, found: dict[int | str, int]) -> tuple[int, ...]:
    return tuple(term if isinstance(term, int) else found[term] for term in atom[1])


def evaluated(rules: Iterable[Clause], facts: Rows, tables: list[str]) -> Rows:
    found = {table: set(facts.get(table, ())) for table in tables}
    for table in tables:
        for rule in rules:
            (head,) = rule.heads
            if head[0] == table:
                found[table] |= {plugged(head, one) for one in bindings(rule, found)}
    return found


@dataclass
class Model:
    facts: Rows
    rules: list[Clause]
    action_facts: Rows
    action_rules: list[Clause]
    results: set[tuple[int, ...]] = field(default_factory=set)

    @property
    def state(self) -> Rows:
        return evaluated(self.rules, self.facts, STATE)

    def theory(self, atoms: Rows) -> Rows:
        state = self.state
        facts = {
            table: rows(state, table) | rows(self.action_facts, table) | rows(atoms, table)
            for table in THEORY
        }
        return evaluated(self.action_rules, facts, THEORY)

    def step(self, step: Clause) -> None:
        signs = {head[0][-1] for head in step.heads}
        if signs <= {"+", "-"}:
            self.change(step)
            return
        atoms: Rows = {}
        if step.body:
            found = next(bindings(step, self.theory({"result": self.results})), None)
            if found is None:
                return
            for head in step.heads:
                rows(atoms, head[0]).add(plugged(head, found))
        else:
            for table, terms in step.heads:
                rows(atoms, table).add(plugged((table, terms), {}))
        theory = self.theory(atoms)
        self.results = theory["result"]
        for table in STATE:
            comes = theory.get(f"{table}+", set())
            rows(self.facts, table).difference_update(theory.get(f"{table}-", set()) - comes)
            rows(self.facts, table).update(comes)

    def change(self, step: Clause) -> None:
        for table, terms in step.heads:
            plain = (table[:-1], terms)
            if not step.body and table[-1] == "+":
                rows(self.facts, plain[0]).add(plugged(plain, {}))
            elif not step.body:
                rows(self.facts, plain[0]).discard(plugged(plain, {}))
            else:
                rule = Clause((plain,), step.body)
                self.rules = [one for one in self.rules if one != rule]
                self.rules += [rule] if table[-1] == "+" else []


# Random worlds


class Author:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def atom(self, table: str, terms: Iterable[int | str]) -> Atom:
        among = list(terms)
        return table, tuple(self.random.choice(among) for _ in range(WIDTHS.get(table, 1)))

    def body(self, tables: list[str]) -> tuple[tuple[bool, Atom], ...]:
        chosen = [self.random.choice(tables) for _ in range(self.random.randint(1, 2))]
        body = [(True, self.atom(table, ["x", "y", "x", "y", 1])) for table in chosen]
        bound = [term for _, (_, terms) in body for term in terms]
        if self.random.random() < 0.4:
            body.append((False, self.atom(self.random.choice(tables), bound)))
        return tuple(body)

    def rule(self, table: str, order: list[str]) -> Clause:
        body = self.body(order[: order.index(table)])
        bound = [term for holds, (_, terms) in body if holds for term in terms]
        return Clause((self.atom(table, bound),), body)

    def facts(self, tables: Iterable[str]) -> Rows:
        return {table: {self.row(table) for _ in range(self.random.randint(0, 3))}
                for table in tables}  # fmt: skip

    def row(self, table: str) -> tuple[int, ...]:
        return tuple(self.random.choice(VALUES) for _ in range(WIDTHS.get(table, 1)))

    def model(self) -> Model:
        effects = [table for table in THEORY[7:] for _ in range(self.random.randint(0, 2))]
        rules = [self.rule(table, STATE) for table in ("d", "e", "e")]
        return Model(
            self.facts(STATE),
            list(dict.fromkeys(rules)),
            self.facts(["b", "h"]) if self.random.random() < 0.3 else {},
            list(dict.fromkeys(self.rule(table, THEORY) for table in ["h", *effects])),
        )

    def steps(self, model: Model) -> Iterator[Clause]:
        for _ in range(self.random.randint(1, 6)):
            sign = self.random.choice("+-")
            match self.random.randint(0, 6):
                case 0:
                    table = self.random.choice(STATE)
                    yield Clause(((f"{table}{sign}", self.row(table)),))
                case 1:
                    rule = self.random.choice([*model.rules, self.rule("d", STATE)])
                    ((table, terms),) = rule.heads
                    yield Clause(((f"{table}{sign}", terms),), rule.body)
                case 2 | 3 | 4:
                    body = self.body(["b", "d", "h", "result", "result", "result"])
                    bound = [term for holds, (_, terms) in body if holds for term in terms]
                    yield Clause((self.atom("f", bound), self.atom("g", bound)), body)
                case _:
                    table = self.random.choice("fg")
                    yield Clause(((table, self.row(table)),))


def program(facts: Rows, rules: Iterable[Clause]) -> str:
    said = [text((table, row)) for table, of in facts.items() for row in sorted(of)]
    return ". ".join([*said, *map(str, rules), ""])


@pytest.mark.parametrize("seed", range(400))
def test_a_simulation_says_what_the_model_says(seed: int) -> None:
    author = Author(seed)
    model = author.model()
    steps = list(author.steps(model))
    some = Workspace()
    some.create_policy("state")
    some.create_policy("actions", "action")
    some.insert(program(model.facts, model.rules), "state")
    actions = program(model.action_facts, model.action_rules)
    some.insert(f'{actions} action("f"). action("g").', "actions")
    sequence, asked = "\n".join(map(str, steps)), STATE[seed % 4]
    told = f"seed {seed}\n{some.content('state')}\n{some.content('actions')}\n{sequence}"
    before, whole = model.state, picture(some.engine)
    for step in steps:
        model.step(step)
    after = model.state
    query = text((asked, ("x", "y")[: WIDTHS.get(asked, 1)]))
    found = simulate(some, query, "state", sequence, "actions", trace=seed % 3 == 0)
    assert set(found.answer.rows) == after[asked], told
    for table in STATE:
        wanted = dict.fromkeys(after[table] - before[table], 1)
        wanted |= dict.fromkeys(before[table] - after[table], -1)
        assert found.net.get(f"state:{table}", {}) == wanted, told
    assert whole ^ picture(some.engine) == set()
