"""A project's limits: where they hold, and what is told."""

import pytest

from transom.queue.config import QueueConfig
from transom.queue.logic.quota import (
    LEEWAY_MS,
    LEEWAYS_MOST,
    PARTS,
    Leeway,
    Limits,
    Quotas,
    check,
    usual,
)
from transom.queue.model import QuotaReached


@pytest.mark.parametrize(("have", "more", "most"), [(0, 5, 5), (4, 1, 5), (9, 0, 5), (9, 9, 0)])
def test_what_fits_passes(have: int, more: int, most: int) -> None:
    check("queues", have, more, most)


@pytest.mark.parametrize(("have", "more"), [(5, 1), (0, 6), (4, 2)])
def test_what_does_not_is_told_with_its_numbers(have: int, more: int) -> None:
    with pytest.raises(QuotaReached, match=f"5 queues and has {have}; {more} more"):
        check("queues", have, more, 5)


def test_a_project_has_the_usual_limits_or_its_own() -> None:
    config = QueueConfig(project_max_queues=3, project_max_messages=4, project_max_bytes=5)
    limits = usual(config)
    assert (limits.queues, limits.messages, limits.bytes) == (3, 4, 5)
    quotas = Quotas(Limits(queues=3))
    assert not quotas.bound_messages
    quotas.replace({"a": Limits(bytes=9)})
    assert (quotas.of("a"), quotas.of("b")) == (Limits(bytes=9), Limits(queues=3))
    assert quotas.bound_messages
    quotas.replace({})
    assert not quotas.bound_messages


def test_a_project_is_counted_again_when_its_leeway_is_used_or_old() -> None:
    leeway, limits = Leeway(), Limits(messages=1000 + PARTS)
    assert not leeway.covers("a", 1, 10, 0, limits)
    leeway.saw("a", 1000 - PARTS, 0, 0, limits)
    assert leeway.covers("a", 1, 10, 0, limits)
    assert not leeway.covers("b", 1, 10, 0, limits)
    assert leeway.covers("a", 1, 10, LEEWAY_MS, limits)
    assert not leeway.covers("a", 1, 10, 0, limits)  # used
    leeway.saw("a", 0, 0, 0, limits)
    assert not leeway.covers("a", 1, 10, LEEWAY_MS + 1, limits)
    assert not leeway.covers("a", 1, 10, -1, limits)  # the clock was put back
    assert not leeway.covers("a", 1, 10, 0, Limits(messages=5))  # the limit was changed
    leeway.saw("a", 1000 + PARTS, 0, 0, limits)
    assert not leeway.covers("a", 1, 10, 0, limits)


def test_a_leeway_has_no_bound_where_there_is_no_limit_and_is_kept_for_so_many_projects() -> None:
    leeway, limits = Leeway(), Limits(bytes=PARTS * 100)
    leeway.saw("a", 0, 0, 0, limits)
    assert leeway.covers("a", 10**9, 100, 0, limits)
    assert not leeway.covers("a", 1, 1, 0, limits)
    for number in range(LEEWAYS_MOST):
        leeway.saw(f"p{number}", 0, 0, 0, limits)
    assert leeway.covers(f"p{LEEWAYS_MOST - 1}", 1, 1, 0, limits)
    assert not leeway.covers("p0", 1, 1, 0, limits)
