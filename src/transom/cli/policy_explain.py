# SPDX-License-Identifier: Apache-2.0
"""`transom policy explain`: why a row is there, or why it is not."""

import argparse
import json

from transom.cli.policy_files import material
from transom.cli.policy_world import clock, faults_told, mode_of, policy_of_atom, warn, workspace
from transom.policy.datalog.reasons.explain import Bounds, explain
from transom.policy.datalog.reasons.telling import as_json, explained_text, why_not_text
from transom.policy.datalog.reasons.why_not import why_not


@faults_told
def explained(options: argparse.Namespace) -> int:
    """Status 1 if there is no such row."""
    found = material(options.path, warn)
    made = workspace(found, mode_of(options.strict), warn, options.time or clock())
    policy = options.policy or policy_of_atom(found, options.atom)
    bounds = Bounds(ways=None) if options.all else Bounds()
    tree = explain(made, options.atom, policy, bounds)
    if tree is None:
        text = why_not_text(why_not(made, options.atom, policy))
        print(
            json.dumps({"why_not": text.splitlines()}, indent=2) if options.json else text.rstrip()
        )
        return 1
    print(json.dumps(as_json(tree), indent=2) if options.json else explained_text(tree).rstrip())
    return 0
