# SPDX-License-Identifier: Apache-2.0
"""What the queue tells others of itself holds together."""

from transom.queue.contract import DEFAULT_RULES, TABLES


def test_each_rule_is_named_once_and_says_what_it_is_for() -> None:
    names = [rule.name for rule in DEFAULT_RULES]
    assert len(set(names)) == len(names)
    assert all(rule.meaning for rule in DEFAULT_RULES)


def test_the_key_and_the_owner_are_columns() -> None:
    assert [table.name for table in TABLES][:2] == ["queue:queues", "queue:subscriptions"]
    for table in TABLES:
        columns = {column.name for column in table.columns}
        assert {*table.key, table.owner} <= columns
