# SPDX-License-Identifier: Apache-2.0
"""Programs from texts, and what is said of texts that are refused."""

from collections.abc import Sequence
from typing import TypeAlias

from transom.policy.datalog.faults import Fault, Refused, Source
from transom.policy.datalog.language.grammar import parse
from transom.policy.datalog.language.syntax import Rule
from transom.policy.datalog.rules.changes import Change, Changed, RuleIn, RuleOut, changed
from transom.policy.datalog.rules.program import Program

Step: TypeAlias = Change | tuple[str, str]
"""A change, or a policy and a text: what it says goes in, or out if it begins with `-`."""


def rules(text: str) -> list[Rule]:
    return [one for one in parse(Source("text", text)).statements if isinstance(one, Rule)]


def changes(steps: Sequence[Step]) -> list[Change]:
    found: list[Change] = []
    for step in steps:
        if not isinstance(step, tuple):
            found.append(step)
        elif step[1].startswith("-"):
            found += [RuleOut(step[0], rule) for rule in rules(step[1][1:])]
        else:
            found += [RuleIn(step[0], rule) for rule in rules(step[1])]
    return found


def taken(program: Program, *steps: Step) -> Changed:
    return changed(program, changes(steps))


def program(*steps: Step) -> Program:
    return taken(Program(), *steps).program


def refused(before: Program, *steps: Step) -> list[Fault]:
    """The faults; none if it is taken."""
    try:
        taken(before, *steps)
    except Refused as error:
        return list(error.faults)
    return []


def codes(before: Program, *steps: Step) -> list[str]:
    return [fault.code for fault in refused(before, *steps)]
