# SPDX-License-Identifier: Apache-2.0
"""A read-eval-print session over a workspace: a line in, lines out; knows no terminal.

| typed | what happens |
|---|---|
| `error(x) :- ...`, `allowed("a")` | rules and facts of the policy at hand |
| `nova:servers("a", "one")` | a row of another policy's table |
| `error(x)?`, `error(x), not calm(x)?` | a question; its answers |
| `:load ...`, `:explain ...` | a command, see `COMMANDS` |

Invariant: a line that is refused or interrupted changes nothing.
"""

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from transom.cli.policy_files import Material, material, read_facts
from transom.cli.policy_simulate import as_lines
from transom.cli.policy_world import absences
from transom.policy.datalog.builtins import BUILTINS
from transom.policy.datalog.cases.cases import diagnostics
from transom.policy.datalog.cases.facts import BadFacts
from transom.policy.datalog.cases.loading import Loader, sources_of
from transom.policy.datalog.core import TableId
from transom.policy.datalog.engine.engine import finished
from transom.policy.datalog.engine.tables import Delta
from transom.policy.datalog.faults import Source
from transom.policy.datalog.language.grammar import parse_rule
from transom.policy.datalog.language.printing import text_of, value_text
from transom.policy.datalog.language.syntax import Atom, Literal, Mode, Rule, TableName, Variable
from transom.policy.datalog.questions import fact_text
from transom.policy.datalog.reasons.explain import Bounds, explain
from transom.policy.datalog.reasons.telling import explained_text, why_not_text
from transom.policy.datalog.reasons.why_not import why_not
from transom.policy.datalog.rules.changes import Change, PolicyIn, RuleIn, RuleOut
from transom.policy.datalog.rules.names import TIME_POLICY, atom_of, meant, policy_fault, policy_of
from transom.policy.datalog.rules.program import Kind
from transom.policy.datalog.simulation.simulate import simulate
from transom.policy.datalog.values import row_order
from transom.policy.datalog.workspace import Workspace

SCRATCH = "scratch"
ROWS_SHOWN_MOST = 20
"""Of each table that changed."""
COMMANDS = {
    "load": ("PATH ...", "read rules, facts, schema.yaml, or a folder of them; rules once more"),
    "explain": ("ATOM", "say why a row is there"),
    "why-not": ("ATOM", "say why a row is not there"),
    "simulate": ("STEPS ? QUERY", "say what would be if"),
    "drop": ("RULE", "take a rule or a fact away"),
    "rules": ("[POLICY]", "list the rules and facts of the policy"),
    "tables": ("", "list tables, how many rows they have, and what is known of them"),
    "policy": ("NAME", "go to another policy; it is made if it is not there"),
    "time": ("TEXT", "set the time that rules see: 2026-01-31 12:00:00"),
    "help": ("", "list this"),
    "quit": ("", "end, as Ctrl-D does"),
}
WORDS_OF_LEAVING = {"exit": "quit", "quit": "quit", "bye": "quit", "help": "help"}
NO_CHANGE = ("rule-there", "rule-not-there")


class Ended(Exception):
    """The person wants to go."""


class Session:
    """`policy`: the one that is typed into. `line`: number of the line that is read."""

    def __init__(self, mode: Mode, clock: Callable[[], str]) -> None:
        self.loader = Loader(Workspace(mode))
        self.workspace = self.loader.workspace
        self.policy = SCRATCH
        self.line = 1
        self._clock: Callable[[], str] | None = clock
        self._loaded: dict[Path, list[tuple[str, Rule]]] = {}
        self.workspace.create_policy(SCRATCH)
        self._tick()

    @property
    def mode(self) -> Mode:
        return self.workspace.program.mode

    def answer(self, text: str) -> Iterator[str]:
        """What a line says. Raises: Ended; TransomError; OSError."""
        text = text.strip()
        self._tick()
        if text.startswith(":"):
            word, _, rest = text[1:].partition(" ")
            yield from self._command(word, rest.strip())
        elif text.endswith("?"):
            yield from self._ask(text[:-1])
        elif text:
            yield from self._insert(text)

    def goes_on(self, text: str) -> bool:
        """Whether the line alone is none yet."""
        ending = text.rstrip().endswith((",", ":-"))
        return ending and not text.lstrip().startswith((":", "//", "#"))

    def words(self) -> list[str]:
        """What may be typed, for completion."""
        program = self.workspace.program
        tables = {*program.uses, *program.facts, *program.inputs, *self.loader.columns}
        own = [table.removeprefix(f"{self.policy}:") for table in tables]
        return sorted({*own, *BUILTINS, *(f":{name}" for name in COMMANDS)})

    # Rules, facts and questions

    def _insert(self, text: str) -> Iterator[str]:
        if text in WORDS_OF_LEAVING:
            raise BadFacts(f"write `:{WORDS_OF_LEAVING[text]}`; `{text}()` is a fact")
        rules = self.workspace.rules_of(self._placed(text), "input")
        if any(rule.head.name.sign for rule in rules):
            raise BadFacts("a sign is for :simulate; a row comes without it, and goes with :drop")
        placed = [RuleIn(*self._owner(rule)) for rule in rules]
        program = self.workspace.program
        new = dict.fromkeys(one.policy for one in placed if one.policy not in program.policies)
        made = [PolicyIn(policy, Kind.DATASOURCE) for policy in new]
        read = [one for one in sources_of(placed, program) if one.name not in new]
        yield from self._change([*made, *read, *placed])

    def _owner(self, rule: Rule) -> tuple[str, Rule]:
        """A fact of another policy, and whose it is; a rule is of the policy at hand."""
        head = rule.heads[0]
        name = head.atom.name
        if rule.body or name.policy is None or head.atom.modal or len(rule.heads) > 1:
            return self.policy, rule
        inside = TableName(None, name.table, name.sign, name.span)
        heads = (replace(head, atom=replace(head.atom, name=inside)),)
        return name.policy, replace(rule, heads=heads)

    def _change(self, changes: list[Change], quiet: tuple[str, ...] = ()) -> Iterator[str]:
        before = set(self._diagnostics())
        outcome = self.workspace.change(changes)
        yield from (f"note: {note.message}" for note in outcome.notes if note.code not in quiet)
        yield from self._came_and_went(outcome.net)
        yield from (f"failed: {said}" for said in self._diagnostics() if said not in before)

    def _came_and_went(self, net: Mapping[TableId, Delta]) -> Iterator[str]:
        """Changes of tables that rules make."""
        for table in sorted(table for table in net if table in self.workspace.program.heads):
            delta = net[table]
            head = atom_of(table, self.policy)
            for row in sorted(delta, key=row_order)[:ROWS_SHOWN_MOST]:
                yield f"{'+' if delta[row] > 0 else '-'} {fact_text(head, row, self.mode)}"
            if len(delta) > ROWS_SHOWN_MOST:
                yield f"  ... and {len(delta) - ROWS_SHOWN_MOST} more changes of {text_of(head)}"

    def _ask(self, text: str) -> Iterator[str]:
        query, names = self._query(text)
        found = self.workspace.select(query, self.policy, "input")
        for row in sorted(found.rows, key=row_order):
            if names is None:
                yield fact_text(found.head, row, self.mode)
            elif names:
                values = (value_text(value, self.mode) for value in row)
                yield ", ".join(
                    f"{name} = {value}" for name, value in zip(names, values, strict=True)
                )
        if names == []:
            yield "yes" if found.rows else "no"
        else:
            count = len(found.rows)
            yield f"({_rows(count)})"
        for text in absences(
            self.workspace, (table for table, _ in found.completeness.of), ":time"
        ):
            yield f"({text})"

    def _query(self, text: str) -> tuple[str, list[str] | None]:
        """The question, and of one without a head the names of its variables."""
        placed = self._placed(text)
        if ":-" in text:
            return placed, None
        rule = parse_rule(Source("input", f"answer :- {placed.lstrip()}"), self.mode)
        if len(rule.body) == 1 and not rule.body[0].negated:
            return placed, None
        names = dict.fromkeys(
            term.name
            for literal in rule.body
            for term in (*literal.atom.terms, *(named.term for named in literal.atom.named))
            if isinstance(term, Variable) and term.name != "_"
        )
        head = Literal(Atom(TableName(None, "answer"), tuple(map(Variable, names))))
        return text_of(replace(rule, heads=(head,)), self.mode), list(names)

    def _placed(self, text: str) -> str:
        return "\n" * (self.line - 1) + text

    def _diagnostics(self) -> list[str]:
        engine = self.workspace.engine
        return diagnostics(self.workspace.program, finished(engine.diagnosing()))

    def _tick(self) -> None:
        if self._clock is not None:
            self.workspace.tick(self._clock())

    # Commands

    def _command(self, word: str, rest: str) -> Iterator[str]:
        found = [name for name in COMMANDS if name == word] or [
            name for name in COMMANDS if word and name.startswith(word)
        ]
        if len(found) != 1:
            hint = meant(word, COMMANDS) or ":help lists them"
            raise BadFacts(f"there is no command `:{word}`: {hint}")
        takes, _ = COMMANDS[found[0]]
        if not rest and takes and not takes.startswith("["):
            raise BadFacts(f"write :{found[0]} {takes}")
        run: Callable[[str], Iterable[str]] = getattr(self, f"_{found[0].replace('-', '_')}")
        yield from run(rest)

    def _load(self, rest: str) -> Iterator[str]:
        warnings: list[str] = []
        try:
            paths = [Path(word).expanduser() for word in shlex.split(rest)]
        except ValueError as error:
            raise BadFacts(f"{rest}: {error}") from error
        yield from self.load(material(paths, warnings.append), warnings.append)
        yield from (f"warning: {text}" for text in warnings)

    def load(self, found: Material, warn: Callable[[str], None]) -> Iterator[str]:
        """What was found in files; rules take the place of those that their file had before."""
        loader = self.loader
        loader.policies(rules.policy for rules in found.rules)
        loader.declare(found.schema)
        for path in found.facts:
            for facts in read_facts(path, warn):
                before = len(self.workspace.rows(facts.table))
                loader.facts(facts)
                count = len(self.workspace.rows(facts.table)) - before
                yield f"{_rows(count)} of {facts.table}"
        changes: list[Change] = []
        read: dict[Path, list[tuple[str, Rule]]] = {}
        for rules in found.rules:
            changes += (RuleOut(*rule) for rule in self._loaded.get(rules.path, ()))
            texts = self.workspace.rules_of(rules.text.text, rules.text.name)
            read[rules.path] = [(rules.policy, rule) for rule in texts]
            changes += (RuleIn(*rule) for rule in read[rules.path])
        if found.own and found.own != self.policy:
            self.policy = found.own
            yield f"policy {self.policy}"
        sources = sources_of(changes, self.workspace.program)
        yield from self._change([*sources, *changes], quiet=NO_CHANGE)
        self._loaded.update(read)
        if found.rules:
            yield from (f"warning: {doubt}" for doubt in loader.doubts())

    def _explain(self, rest: str) -> Iterator[str]:
        tree = explain(self.workspace, rest, self.policy, Bounds(ways=3))
        if tree is None:
            yield from self._why_not(rest)
        else:
            yield from explained_text(tree).splitlines()

    def _why_not(self, rest: str) -> Iterator[str]:
        yield from why_not_text(why_not(self.workspace, rest, self.policy)).splitlines()

    def _simulate(self, rest: str) -> Iterator[str]:
        steps, mark, query = rest.rpartition("?")
        if not mark or not query.strip():
            raise BadFacts("write the steps, `?`, and what is asked then: q+(1) ? p(x)")
        told = simulate(self.workspace, query.strip(), self.policy, steps.strip())
        yield from as_lines(told, self.workspace, self.policy)

    def _drop(self, rest: str) -> Iterator[str]:
        rules = self.workspace.rules_of(self._placed(rest), "input")
        yield from self._change([RuleOut(*self._owner(rule)) for rule in rules])

    def _rules(self, rest: str) -> Iterator[str]:
        policy = rest or self.policy
        if policy not in self.workspace.program.policies:
            hint = meant(policy, self.workspace.program.policies)
            raise BadFacts(f"there is no policy `{policy}`{hint and ': ' + hint}")
        yield from self.workspace.content(policy).splitlines()

    def _tables(self, _: str) -> Iterator[str]:
        program = self.workspace.program
        tables = {*program.uses, *program.facts, *program.inputs, *self.loader.columns}
        for table in sorted(tables):
            if policy_of(table) == TIME_POLICY:
                continue
            state = self.workspace.states.of(program, table).state
            columns = program.columns(table)
            shape = f"({', '.join(columns)})" if columns else ""
            yield f"{table}{shape}  {_rows(len(self.workspace.rows(table)))}, {state}"

    def _policy(self, rest: str) -> Iterator[str]:
        if fault := policy_fault(rest):
            raise BadFacts(f"a policy cannot be called so: {fault}")
        if rest not in self.workspace.program.policies:
            self.workspace.create_policy(rest)
            yield f"policy {rest} is new"
        self.policy = rest

    def _time(self, rest: str) -> Iterator[str]:
        outcome = self.workspace.tick(rest)
        self._clock = None
        yield from self._came_and_went(outcome.net)

    def _help(self, _: str) -> Iterator[str]:
        yield "Type a rule or a fact, or a question that ends with `?`, or a command:"
        for name, (takes, says) in COMMANDS.items():
            yield f"  :{name} {takes}".ljust(26) + says

    def _quit(self, _: str) -> Iterator[str]:
        raise Ended


def _rows(count: int) -> str:
    return f"{count or 'no'} row{'s' * (count != 1)}"
