# SPDX-License-Identifier: Apache-2.0
"""An atom that asks for rows: with these values, and the same where a variable stands twice."""

from dataclasses import dataclass

from transom.policy.datalog.core import TableId
from transom.policy.datalog.faults import Fault, Refused, Source
from transom.policy.datalog.language.grammar import parse_atom
from transom.policy.datalog.language.syntax import Atom, Constant, Modal, Term, Variable
from transom.policy.datalog.rules.checks import builtin_of, truth_of
from transom.policy.datalog.rules.columns import arguments, is_anonymous
from transom.policy.datalog.rules.names import meant, table_id
from transom.policy.datalog.rules.program import Program
from transom.policy.datalog.values import Row, Value


@dataclass(frozen=True, slots=True)
class Pattern:
    """`atom`: as a text of `policy` writes it. `terms`: by place; None is any value."""

    policy: str
    table: TableId
    atom: Atom
    terms: tuple[Term | None, ...]

    @property
    def bound(self) -> dict[int, Value]:
        return {at: term.value for at, term in enumerate(self.terms) if isinstance(term, Constant)}

    def fits(self, row: Row) -> bool:
        """Whether a row that has the values has the same wherever a variable stands."""
        found: dict[str, Value] = {}
        return all(
            found.setdefault(term.name, value) == value
            for term, value in zip(self.terms, row, strict=True)
            if isinstance(term, Variable) and not is_anonymous(term)
        )


def pattern(program: Program, text: str, policy: str) -> Pattern:
    """Raises: Refused."""
    atom = parse_atom(Source("atom", text), program.mode)
    if policy not in program.policies:
        reason = f"there is no policy `{policy}` to ask"
        raise Refused([Fault("unknown-policy", reason, hint=meant(policy, program.policies))])
    builtin = builtin_of(atom.name) is not None or truth_of(atom) is not None
    if builtin or atom.modal not in (None, Modal.EXECUTE):
        reason = "only rows of tables are there or are not"
        raise Refused([Fault("query", reason, atom.span, hint="ask for a table")])
    table = table_id(policy, atom.name, atom.modal)
    found = arguments(program, table, atom)
    if isinstance(found, list):
        raise Refused(found)
    return Pattern(policy, table, atom, found)
