# SPDX-License-Identifier: Apache-2.0
"""Operators' files as they are: Keystone's own sample, and one as Zaqar's operators have it."""

import re
import subprocess
from itertools import product

import pytest

from transom.errors import Forbidden
from transom.queue.contract import DEFAULT_RULES
from transom.runtime.auth.context import Context
from transom.runtime.auth.policy_file import loaded, read_rules
from transom.runtime.auth.rules import Rules

from support.keystone import PYTHON
from support.oslo_rules import Oslo

CONTEXTS = [
    Context("r"),
    Context("r", user_id="u1", user_domain_id="d1", project_id="p1", project_domain_id="d1",
            roles=frozenset(["reader"])),
    Context("r", user_id="u2", user_domain_id="d2", project_id="p2", project_domain_id="d2",
            roles=frozenset(["admin", "member"])),
    Context("r", user_id="u1", user_domain_id="d1", domain_id="d1", roles=frozenset(["manager"])),
    Context("r", user_id="u3", user_domain_id="d1", system=True, roles=frozenset(["reader"])),
    Context("r", user_id="u4", project_id="p1", roles=frozenset(["service"])),
]  # fmt: skip
FIELDS = re.compile(r"%\(([^)]+)\)s")

ZAQAR_FILE = """
# As oslopolicy-sample-generator writes it, with a few lines in force.
"context_is_admin": "role:admin"
"admin_or_owner": "is_admin:True or project_id:%(project_id)s"
"default": "rule:admin_or_owner"
"queues:get_all": ""
"queues:create": "role:queue_maker or rule:context_is_admin"
"queues:delete": [["rule:context_is_admin"], ["role:queue_maker", "project_id:%(project_id)s"]]
"messages:delete_all": "!"
"pools:get_all": "rule:context_is_admin"
"topics:get_all": "rule:context_is_admin"
#"claims:create": ""
"""


@pytest.fixture(scope="module")
def sample():
    """What Keystone's package says are its rules, every line in force."""
    done = subprocess.run(
        [PYTHON.parent / "oslopolicy-sample-generator", "--namespace", "keystone"],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return re.sub(r'^#(?=")', "", done.stdout, flags=re.MULTILINE)


def test_every_rule_of_keystone_s_sample_means_what_it_means_to_keystone(sample):
    texts = read_rules(sample)
    assert len(texts) > 150
    rules, oslo = Rules(texts), Oslo(texts)
    fields = sorted(set(FIELDS.findall(sample)))
    targets = [{}, *(dict.fromkeys(fields, value) for value in ("u1", "p1", "d1", "member"))]
    targets += [{field: None for field in fields if "domain" in field}]
    answers = set()
    for name, context, target in product(texts, CONTEXTS, targets):
        expected = oslo.holds(name, context, target)
        try:
            rules.enforce(name, context, target)
            answer = True
        except Forbidden:
            answer = False
        assert answer is expected, (name, texts[name], context, target)
        answers.add((name, answer))
    assert len(answers) > 1.8 * len(texts), "most rules allow somebody and deny somebody"


def test_a_file_of_zaqar_s_operators_is_taken_and_what_has_no_use_is_named(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(ZAQAR_FILE)
    found = loaded(path, DEFAULT_RULES)
    rules = Rules({})
    rules.replace(found.rules)
    own = {"project_id": "p1"}
    maker = Context("r", project_id="p1", roles=frozenset(["queue_maker", "reader"]))
    reader = Context("r", project_id="p1", roles=frozenset(["reader"]))
    for name in ("queues:create", "queues:delete", "queues:get_all", "messages:get"):
        rules.enforce(name, maker, own)
    for name in ("queues:create", "queues:delete", "messages:delete_all", "messages:create"):
        with pytest.raises(Forbidden):
            rules.enforce(name, reader, own)
    assert [warning.partition(": ")[2] for warning in found.warnings] == [
        "rule 'topics:get_all' is asked for by nothing here; did you mean 'pools:get_all'?"
    ]
