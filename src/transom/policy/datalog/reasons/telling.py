# SPDX-License-Identifier: Apache-2.0
"""Explanations as texts for people, and as plain data to be kept with what was explained."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

from transom.policy.datalog.core import Call, CoreTerm, Match, TableId
from transom.policy.datalog.faults import NOWHERE, Span
from transom.policy.datalog.language.printing import text_of, value_text
from transom.policy.datalog.language.syntax import (
    Atom,
    Constant,
    Literal,
    Named,
    TableName,
    Term,
    Variable,
)
from transom.policy.datalog.questions import fact_text
from transom.policy.datalog.reasons.explain import Explanation, Omitted, Step, Way
from transom.policy.datalog.reasons.why_not import Near, Obstacle, Reason, WhyNot
from transom.policy.datalog.rules.names import atom_of, policy_of
from transom.policy.datalog.rules.program import Entry
from transom.policy.datalog.states import TableState
from transom.policy.datalog.values import Value, decoded, decoded_row

Plain: TypeAlias = dict[str, Any]
INDENT: Final = "  "
ITEM: Final = "- "


def literal_text(literal: Match | Call, bindings: Mapping[str, Value], policy: str) -> str:
    """A literal with values: `_` is any, a variable without a value stays one."""
    if isinstance(literal, Call):
        atom = Atom(TableName(None, literal.builtin.name))
        terms: tuple[CoreTerm | None, ...] = (*literal.inputs, *literal.outputs)
    else:
        atom, terms = atom_of(literal.table, policy), literal.arguments
    written = Atom(atom.name, tuple(_term(term, bindings) for term in terms), (), atom.modal)
    return text_of(Literal(written, literal.negated))


def _term(term: CoreTerm | None, bindings: Mapping[str, Value]) -> Term:
    if term is None:
        return Variable("_")
    if isinstance(term, Variable) and term.name in bindings:
        return Constant(bindings[term.name])
    return term


def state_text(state: TableState) -> str:
    """What is known of a source's table: `live`, `stale since 2026-01-31 12:00:00`."""
    return f"{state.state} since {state.since}" if state.since else state.state.value


# For people


def explained_text(tree: Explanation) -> str:
    """Names without a policy are of that of the row which is explained."""
    return "".join(f"{line}\n" for line in _row_lines(tree, policy_of(tree.table)))


def _row_lines(tree: Explanation, policy: str) -> Iterator[str]:
    parts = [_said(tree)] if tree.said else []
    if tree.omitted is Omitted.ABOVE:
        parts.append("explained above")
    elif tree.omitted is Omitted.DEEPER:
        parts.append("follows from others, which are not told here")
    elif tree.count > len(tree.ways):
        parts.append(f"{len(tree.ways)} of {tree.count} ways:")
    text = _row_text(tree, policy)
    yield f"{text}: {', '.join(parts)}" if parts else text
    for way in tree.ways:
        yield from _indented(_way_lines(way, policy))


def _row_text(tree: Explanation, policy: str) -> str:
    """By name, without what nobody says, where that says more than places do."""
    atom = atom_of(tree.table, policy)
    if None not in tree.row or len(tree.columns) != len(tree.row):
        return fact_text(atom, tree.row)
    pairs = zip(tree.columns, tree.row, strict=True)
    named = tuple(Named(name, Constant(value)) for name, value in pairs if value is not None)
    return text_of(Atom(atom.name, (), named, atom.modal))


def _indented(lines: Iterator[str], first: str = INDENT) -> Iterator[str]:
    yield first + next(lines)
    for line in lines:
        yield INDENT + line


def _bindings_text(bindings: Mapping[str, Value]) -> str:
    named = (f"{name} = {value_text(value)}" for name, value in bindings.items())
    return f"with {', '.join(named)}"


def _rule_text(entry: Entry, policy: str) -> str:
    owner = "" if entry.policy == policy else f"{entry.policy}: "
    span = entry.rule.span
    return f"by {owner}{text_of(entry.rule)}" + ("" if span is NOWHERE else f" ({span})")


def _said(tree: Explanation) -> str:
    if tree.state is not None:
        return f"a row of a source, {state_text(tree.state)}"
    return "a fact" if tree.span is NOWHERE else f"a fact at {tree.span}"


def _way_lines(way: Way, policy: str) -> Iterator[str]:
    yield _rule_text(way.entry, policy)
    yield from _binding_lines(way, policy)
    if way.members:
        yield f"a group of {way.count}, of these:"
    for member in way.members:
        yield from _indented(_binding_lines(member, policy), ITEM)


def _binding_lines(way: Way, policy: str) -> Iterator[str]:
    """Of a member there is at least a variable, which is folded."""
    if way.bindings:
        yield _bindings_text(way.bindings)
    for step in way.steps:
        yield from _indented(_step_lines(step, way.bindings, policy), ITEM)


def _step_lines(step: Step, bindings: Mapping[str, Value], policy: str) -> Iterator[str]:
    if step.found is not None:
        yield from _row_lines(step.found, policy)
        return
    text = literal_text(step.literal, bindings, policy)
    if isinstance(step.literal, Call):
        yield f"{text}: true"
    elif step.state is None:
        yield f"{text}: there is no such row"
    else:
        yield f"{text}: there is no such row of a source, {state_text(step.state)}"


def why_not_text(why: WhyNot) -> str:
    """As `explained_text`."""
    return "".join(f"{line}\n" for line in _why_not_lines(why))


def _why_not_lines(why: WhyNot) -> Iterator[str]:
    table, policy = why.pattern.table, why.pattern.policy
    if why.there is not None:
        yield f"{fact_text(atom_of(table, policy), why.there)} is there"
        return
    yield f"there is no {text_of(why.pattern.atom)}"
    if why.hint is not None:
        yield f"{INDENT}nothing makes {table}{why.hint and f'; {why.hint}'}"
    elif why.near.state is not None or not why.obstacles:
        yield from _near_lines(why.near, table, policy)
    for obstacle in why.obstacles:
        yield from _indented(_obstacle_lines(obstacle, policy))


def _near_lines(near: Near, table: TableId, policy: str) -> Iterator[str]:
    if near.state is not None:
        yield f"{INDENT}{table} is of a source, {state_text(near.state)}"
    for leaf, state in near.lacking:
        yield f"{INDENT}it is made of {leaf}, which is {state_text(state)}"
    for row in near.rows:
        yield f"{INDENT}near to it is {fact_text(atom_of(table, policy), row)}"


def _obstacle_lines(obstacle: Obstacle, policy: str) -> Iterator[str]:
    yield _rule_text(obstacle.entry, policy)
    bindings = obstacle.bindings
    if bindings:
        yield _bindings_text(bindings)
    if obstacle.literal is None:
        yield _whole_rule(obstacle, policy)
        return
    text = literal_text(obstacle.literal, bindings, policy)
    if isinstance(obstacle.literal, Call):
        yield f"{ITEM}{text}: {_call_text(obstacle)}"
    elif obstacle.met is not None:
        there = fact_text(atom_of(obstacle.literal.table, policy), obstacle.met)
        yield f"{ITEM}{text}: {there} is there"
    else:
        yield f"{ITEM}{text}: there is no such row"
        yield from _near_lines(obstacle.near, obstacle.literal.table, policy)


def _call_text(obstacle: Obstacle) -> str:
    if obstacle.reason is Reason.FAILED:
        return f"it failed, {obstacle.said}"
    return f"it gives {obstacle.said}" if obstacle.said else "it is false"


def _whole_rule(obstacle: Obstacle, policy: str) -> str:
    match obstacle.reason:
        case Reason.HEAD:
            return f"{ITEM}it gives rows with other constants"
        case Reason.WAITS:
            return f"{ITEM}it waits: {obstacle.entry.faults[0].message}"
        case Reason.SIMULATED:
            return f"{ITEM}it is for simulations alone"
    if obstacle.met is None:
        return f"{ITEM}its aggregate has no value"
    other = fact_text(atom_of(obstacle.entry.head, policy), obstacle.met)
    return f"{ITEM}it gives {other} instead"


# To be kept


def as_json(tree: Explanation) -> Plain:
    """`ways` are left out where there are none, and so is what is as usual."""
    found: Plain = {"table": tree.table, "row": list(decoded_row(tree.row))}
    if tree.said:
        found["said"] = True
        found |= _state(tree.state)
    found |= _place(tree.span)
    if tree.count:
        found["count"] = tree.count
    if tree.omitted is not None:
        found["omitted"] = tree.omitted.value
    if tree.ways:
        found["ways"] = [_way(way) for way in tree.ways]
    return found


def _place(span: Span) -> Plain:
    return {} if span is NOWHERE else {"place": str(span)}


def _state(state: TableState | None) -> Plain:
    if state is None:
        return {}
    since = {"since": state.since} if state.since else {}
    return {"state": state.state.value, **since}


def _way(way: Way) -> Plain:
    found: Plain = {
        "rule": way.entry.name,
        "bindings": {name: decoded(value) for name, value in way.bindings.items()},
        **_place(way.entry.rule.span),
    }
    if way.members:
        return found | {"count": way.count, "members": [_way(member) for member in way.members]}
    return found | {"steps": [_step(step, way) for step in way.steps]}


def _step(step: Step, way: Way) -> Plain:
    if step.found is not None:
        return as_json(step.found)
    text = literal_text(step.literal, way.bindings, way.entry.policy)
    return {"literal": text, **_state(step.state)}
