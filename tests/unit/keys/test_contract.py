"""The declared rules: everything is for admins."""

from transom.keys.contract import DEFAULT_RULES, SOURCE


def test_each_rule_but_the_first_guards_one_call_and_is_for_admins() -> None:
    admin, *rest = DEFAULT_RULES
    assert (admin.name, admin.text) == ("admin_required", "role:admin")
    assert {rule.text for rule in rest} == {"rule:admin_required"}
    assert all(len(rule.operations) == 1 for rule in rest)
    assert {rule.name.partition(":")[0] for rule in rest} == {SOURCE, "groups"}
