# SPDX-License-Identifier: Apache-2.0
"""A failing script cut down to the least that still fails, for a person to read."""

import traceback
from collections.abc import Iterator
from dataclasses import replace

from transom.policy.datalog.core import CoreRule, Fold, Match
from transom.policy.datalog.language.syntax import Variable

from support.datalog_play import Difference, Play
from support.datalog_world import Change, Script, Step, script_text


def fault_of(script: Script) -> str | None:
    """What is wrong with the engine, by this script."""
    try:
        Play(script).run()
    except Difference as difference:
        return f"{type(difference).__name__}: {difference}"
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})"
    return None


def told(script: Script) -> str | None:
    """The fault with the least script that still has one; None if there is none."""
    fault = fault_of(script)
    if fault is None:
        return None
    least = shrunk(script, fault[:24])
    return f"{fault_of(least)}\n{script_text(least)}\n(seed {script.seed} at first: {fault})"


def shrunk(script: Script, beginning: str, tries: int = 1000) -> Script:
    """Parts are left out as long as a fault that begins so is left."""
    smaller = True
    while smaller and tries:
        smaller = False
        for candidate in lesser(script):
            tries -= 1
            if not tries:
                break
            if (fault_of(candidate) or "").startswith(beginning):
                script, smaller = candidate, True
                break
    return script


def lesser(script: Script) -> Iterator[Script]:
    """Scripts with one thing less, the largest things first."""
    for at in range(len(script.steps)):
        yield replace(script, steps=script.steps[:at] + script.steps[at + 1 :])
    for at, step in enumerate(script.steps):
        for one in lesser_steps(step):
            yield replace(script, steps=(*script.steps[:at], one, *script.steps[at + 1 :]))


def lesser_steps(step: Step) -> Iterator[Step]:
    if step.kind != "whole":
        yield replace(step, kind="whole")
    for at, change in enumerate(step.changes):
        if len(step.changes) > 1:
            yield replace(step, changes=step.changes[:at] + step.changes[at + 1 :])
        for one in lesser_changes(change):
            yield replace(step, changes=(*step.changes[:at], one, *step.changes[at + 1 :]))


def lesser_changes(change: Change) -> Iterator[Change]:
    for at in range(len(change.added)):
        yield replace(change, added=[*change.added[:at], *change.added[at + 1 :]])
    for at in range(len(change.removed)):
        yield replace(change, removed=[*change.removed[:at], *change.removed[at + 1 :]])
    for table, delta in change.rows.items():
        for row in delta:
            less = {key: sign for key, sign in delta.items() if key != row}
            yield replace(change, rows={**change.rows, table: less})
    for at, rule in enumerate(change.added):
        for one in lesser_rules(rule):
            yield replace(change, added=[*change.added[:at], one, *change.added[at + 1 :]])


def lesser_rules(rule: CoreRule) -> Iterator[CoreRule]:
    """Without a literal, if the rule stays safe."""
    for at in range(len(rule.body)):
        body = rule.body[:at] + rule.body[at + 1 :]
        if safe(replace(rule, body=body)):
            yield replace(rule, body=body)


def safe(rule: CoreRule) -> bool:
    bound: set[Variable] = set()
    for literal in rule.body:
        match = isinstance(literal, Match)
        terms = literal.arguments if match else literal.outputs
        variables = {term for term in terms if isinstance(term, Variable)}
        needed = variables if literal.negated else set()
        if not match:
            needed |= {term for term in literal.inputs if isinstance(term, Variable)}
        if not needed <= bound:
            return False
        bound |= variables
    head = {term.variable if isinstance(term, Fold) else term for term in rule.arguments}
    return {term for term in head if isinstance(term, Variable)} <= bound
