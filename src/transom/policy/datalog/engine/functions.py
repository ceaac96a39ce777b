# SPDX-License-Identifier: Apache-2.0
"""A plan as a Python function: its source is written here, and compiled.

    def run(delta, out):
        for t, s in delta:                      # the trigger's rows, +1 came, -1 went
            v0 = t[0]
            v1 = t[1]
            f0 = get_0(v0)                      # ports by their vm
            if f0 is None: continue
            for r0 in (f0,) if type(f0) is tuple else f0:
                v2 = r0[2]
                if (v1, v2) in rows_1: continue # not allowed(tenant, net)
                h = (v0,)
                out[h] = out_get(h, 0) + s      # error(vm)

It is a generator (left out above): it gives `None` each time it has touched `SLICE` rows, so that
others may run; `Meter` counts all that it touched.

Safety: of a rule's text only places, column numbers and variables' numbers come into the source.
Constants, tables and builtins come in by reference.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, TypeAlias

from transom.policy.datalog.core import Call, CoreRule, CoreTerm, Fold, Match, TableId
from transom.policy.datalog.engine.plan import Access, How, Plan
from transom.policy.datalog.engine.tables import SLICE, Table, bucket_rows
from transom.policy.datalog.language.syntax import Constant, Variable
from transom.policy.datalog.values import Row

LOOPS_MOST = 12
"""Of loops within each other, in one function: Python allows 20 blocks."""


class Emit(Enum):
    """What a function does with what it finds.

    HEADS: counts heads in `out`. DERIVED: gives each derivation, (values of the variables, rows).
    REACHED: keeps in `out` how far it came: [literals passed, values of the variables].
    """

    HEADS = auto()
    DERIVED = auto()
    REACHED = auto()


FaultSink: TypeAlias = Callable[[int, Exception, Row], None]
"""(place of the literal, what its builtin raised, its inputs)"""


class Meter:
    """Rows that were touched, by all functions that have it."""

    __slots__ = ("touched",)

    def __init__(self) -> None:
        self.touched = 0


@dataclass(frozen=True, slots=True)
class Function:
    """`run(delta, out)`. `variables`: their names, in the order in which values are given."""

    run: Callable[..., Any]
    variables: tuple[str, ...]
    source: str


def patched(bucket: Any, row: Row, weight: int) -> Iterable[Row]:
    """The bucket with `row` changed: its own state is before the change."""
    rows = bucket_rows(bucket)
    return [*rows, row] if weight > 0 else [one for one in rows if one != row]


def function(
    plan: Plan,
    rule: CoreRule,
    emit: Emit,
    tables: Mapping[TableId, Table],
    meter: Meter,
    fault: FaultSink,
) -> Function:
    """Raises: KeyError if a table or an index of the plan is not there."""
    # A rule with aggregates was lowered to one without (see `lowering`).
    head = [term for term in rule.arguments if not isinstance(term, Fold)]
    writer = _Writer(plan, head, emit, tables)
    writer.namespace |= {"meter": meter, "fault": fault}
    writer.write()
    source = "\n".join(writer.lines)
    namespace = writer.namespace
    exec(compile(source, "<rule>", "exec"), namespace)  # noqa: S102 (see Safety above)
    return Function(namespace["run"], tuple(writer.names), source)


def _variables(plan: Plan, head: Iterable[CoreTerm]) -> Iterator[str]:
    """Names of variables, each as often as the function needs it."""
    lists: list[Iterable[CoreTerm | None]] = [head]
    if plan.trigger is not None:
        lists.append(plan.trigger.arguments)
    for step in plan.steps:
        if isinstance(step, Call):
            lists += [step.inputs, step.outputs]
        else:
            lists.append(step.match.arguments)
    for terms in lists:
        yield from (term.name for term in terms if isinstance(term, Variable))
    yield from plan.given


class _Writer:
    """Writes one function's source, and further ones where loops would be too deep."""

    def __init__(
        self,
        plan: Plan,
        head: Sequence[CoreTerm],
        emit: Emit,
        tables: Mapping[TableId, Table],
    ) -> None:
        self.plan, self.head, self.emit, self.tables = plan, head, emit, tables
        self.namespace: dict[str, Any] = {
            "patched": patched, "type": type, "tuple": tuple, "Exception": Exception,
        }  # fmt: skip
        self.names: dict[str, str] = {}
        self.uses = Counter(_variables(plan, head))
        self.lines: list[str] = []
        self.rows: list[str] = []
        self.depth = 0
        self.loops = 0
        self.functions = 0

    def write(self) -> None:
        self._begin("run", ("delta", "out"))
        self._line(f"left = {SLICE}")
        self._loop("t, s", "delta")
        for name in self.plan.given:
            self._line(f"{self._name(name)} = t[{len(self.names) - 1}]")
        if self.plan.trigger is not None:
            self._unify("t", self.plan.trigger, ())
        for number, step in enumerate(self.plan.steps):
            if self.emit is Emit.REACHED:
                self._line(f"if out[0] < {number}: out[0] = {number}; out[1] = {self._values()}")
            if isinstance(step, Call):
                self._call(number, step)
            else:
                self._access(number, step)
        self._emit()
        self._end(1)

    # Lines

    def _line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def _begin(self, name: str, arguments: Iterable[str]) -> None:
        self.depth = 0
        self.loops = 0
        self._line(f"def {name}({', '.join(arguments)}):")
        self.depth = 1
        if self.emit is Emit.HEADS:
            self._line("out_get = out.get")

    def _loop(self, variable: str, rows: str) -> None:
        self._line(f"for {variable} in {rows}:")
        self.depth += 1
        self.loops += 1
        self._line("left -= 1")
        self._line(f"if left < 0: meter.touched += {SLICE}; yield; left = {SLICE - 1}")

    def _end(self, depth: int) -> None:
        self.depth = depth
        if self.functions:
            self._line("return left")
        else:
            self._line(f"meter.touched += {SLICE} - left")
            self._line("return")

    def _go_deeper(self) -> None:
        """The rest into a function of its own, called from here with all that is known.

        With what is left of the slice too: what calls many that touch little is cut as well.
        """
        name = f"rest_{self.functions + 1}"
        known = [*self.names.values(), *self.rows]
        self._line(f"left = yield from {name}({', '.join(('((t, s),)', 'out', 'left', *known))})")
        if self.emit is Emit.REACHED:
            self._line(f"if out[0] == {len(self.plan.steps)}:")
            self._end(self.depth + 1)
        self._end(1)
        self.functions += 1
        self._begin(name, ("delta", "out", "left", *known))
        self._loop("t, s", "delta")

    # Terms

    def _name(self, variable: str) -> str:
        return self.names.setdefault(variable, f"v{len(self.names)}")

    def _term(self, term: CoreTerm) -> str:
        """The expression of a value that is known."""
        if isinstance(term, Variable):
            return self.names[term.name]
        name = f"k{len(self.namespace)}"
        self.namespace[name] = term.value
        return name

    def _tuple(self, terms: Iterable[str]) -> str:
        parts = list(terms)
        return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"

    def _values(self) -> str:
        return self._tuple(self.names.values())

    # Steps

    def _unify(self, row: str, match: Match, checked: tuple[int, ...]) -> None:
        """Binds what is not bound, and compares the rest but for columns already `checked`."""
        for column, term in enumerate(match.arguments):
            if term is None:
                continue
            cell = f"{row}[{column}]"
            if isinstance(term, Constant) or term.name in self.names:
                if column not in checked:
                    self._line(f"if {cell} != {self._term(term)}: continue")
            elif self.emit is not Emit.HEADS or self.uses[term.name] > 1:
                self._line(f"{self._name(term.name)} = {cell}")

    def _access(self, number: int, step: Access) -> None:
        table = self.tables[step.match.table]
        if step.how is How.MEMBER:
            self._member(number, step, table)
            return
        if self.loops >= LOOPS_MOST:
            self._go_deeper()
        found = f"f{number}"
        if step.how is How.INDEX:
            self.namespace[f"get_{number}"] = table.indexes[step.columns].buckets.get
            key = [self._known(step.match, column) for column in step.columns]
            self._line(f"{found} = get_{number}({key[0] if len(key) == 1 else self._tuple(key)})")
            if not step.patched:
                self._line(f"if {found} is None: continue")
            rows = f"({found},) if type({found}) is tuple else {found}"
        else:
            self.namespace[found] = table.counts
            rows = found
        row = f"r{number}"
        if step.patched:
            rows = f"patched({found}, t, s)"
        self._loop(row, rows)
        self._unify(row, step.match, () if step.patched else step.columns)
        self.rows.append(row)

    def _known(self, match: Match, column: int) -> str:
        term = match.arguments[column]
        assert term is not None
        return self._term(term)

    def _member(self, number: int, step: Access, table: Table) -> None:
        rows, row = f"m{number}", f"r{number}"
        self.namespace[rows] = table.counts
        terms = range(len(step.match.arguments))
        self._line(f"{row} = {self._tuple(self._known(step.match, column) for column in terms)}")
        there = f"{row} in {rows}"
        if step.patched:
            there = f"({there} or {row} == t if s > 0 else {there} and {row} != t)"
        if step.match.negated:
            self._line(f"if {there}: continue")
        else:
            self._line(f"if not ({there}): continue")
            self.rows.append(row)

    def _call(self, number: int, step: Call) -> None:
        name, given = f"call_{number}", f"o{number}"
        self.namespace[name] = step.builtin.function
        inputs = [self._term(term) for term in step.inputs]
        self._line(f"try: {given} = {name}({', '.join(inputs)})")
        self._line(
            f"except Exception as e: fault({step.place}, e, {self._tuple(inputs)}); continue"
        )
        if not step.outputs:
            self._line(f"if {'' if step.negated else 'not '}{given}: continue")
            return
        cells = [given] if len(step.outputs) == 1 else [
            f"{given}[{at}]" for at in range(len(step.outputs))
        ]  # fmt: skip
        same: list[str] = []
        for cell, term in zip(cells, step.outputs, strict=True):
            if term is None:
                continue
            if isinstance(term, Constant) or term.name in self.names:
                same.append(f"{cell} == {self._term(term)}")
            else:
                self._line(f"{self._name(term.name)} = {cell}")
        if step.negated:
            self._line(f"if {' and '.join(same) or 'True'}: continue")
        elif same:
            self._line(f"if not ({' and '.join(same)}): continue")

    def _emit(self) -> None:
        if self.emit is Emit.REACHED:
            count = len(self.plan.steps)
            self._line(f"out[0] = {count}; out[1] = {self._values()}")
            self._end(self.depth)
        elif self.emit is Emit.DERIVED:
            self._line(f"yield {self._values()}, {self._tuple(self.rows)}")
        else:
            negated = self.plan.trigger is not None and self.plan.trigger.negated
            self._line(f"h = {self._tuple(map(self._term, self.head))}")
            self._line(f"out[h] = out_get(h, 0) {'-' if negated else '+'} s")
