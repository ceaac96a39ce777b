"""Whether a request is of now."""

import pytest

from transom.errors import ConfigError, Unauthorized
from transom.keys.config import KeysConfig
from transom.keys.logic.freshness import check, forgotten_ms

NOW = 1_000_000_000


@pytest.mark.parametrize("off_ms", [-5000, 0, 5000])
def test_within_the_skew_it_is(off_ms: int) -> None:
    check(NOW + off_ms, NOW, 5, 0)


@pytest.mark.parametrize("off_ms", [-5001, 5001, -(10**15), 10**15])
def test_outside_it_is_not_on_either_side(off_ms: int) -> None:
    with pytest.raises(Unauthorized, match="clock"):
        check(NOW + off_ms, NOW, 5, 0)


def test_before_the_floor_it_is_not() -> None:
    check(NOW, NOW, 5, NOW)
    with pytest.raises(Unauthorized):
        check(NOW - 1, NOW, 5, NOW)


def test_a_nonce_is_forgotten_only_when_the_time_refuses_it() -> None:
    at_ms = forgotten_ms(NOW, 5)
    check(NOW, at_ms - 1, 5, 0)
    with pytest.raises(Unauthorized):
        check(NOW, at_ms, 5, 0)


def test_a_group_key_that_would_be_replaced_at_once_is_refused() -> None:
    with pytest.raises(ConfigError, match="group_key_early_s"):
        KeysConfig(group_key_ttl_s=60, group_key_early_s=60)
