# SPDX-License-Identifier: Apache-2.0
"""Who is what, by name and pattern."""

import pytest

from transom.messaging.security.names import is_member, is_name, is_pattern, serves


@pytest.mark.parametrize(
    "text", ["a", "scheduler.host1", "q.h1.example.com", "a:b@c-d_e", "x" * 255]
)
def test_a_name_is_a_name(text: str) -> None:
    assert is_name(text)
    assert is_pattern(text)
    assert is_pattern(text[:254] + "*")


@pytest.mark.parametrize("text", ["", ".a", "a b", "a/b", "a\n", "x" * 256, "é", "a*b"])
def test_a_text_is_no_name(text: str) -> None:
    assert not is_name(text)
    assert not is_pattern(text)


def test_a_star_alone_is_every_group_and_nobodys_name() -> None:
    assert is_pattern("*")
    assert not is_name("*")
    assert is_member("any.a", ["*"], "work")


def test_a_party_belongs_to_the_group_that_its_name_begins_with() -> None:
    assert is_member("work.h1", (), "work")
    assert not is_member("work", (), "work")
    assert not is_member("workers.h1", (), "work")
    assert is_member("api.a", ("feed.*", "work"), "feed.images")
    assert is_member("api.a", ("feed.*", "work"), "work")
    assert not is_member("api.a", ("feed.*", "work"), "feeds")


def test_a_party_serves_what_it_is_named_after_or_registered_for() -> None:
    assert serves("work.h1", (), "work", "h1")
    assert not serves("work.h1", (), "other", "h1")
    assert serves("queue.h1", ("feed.*",), "feed.queue", "h1")
    assert not serves("queue.h1", ("feed.*",), "feed.queue", "h2")
