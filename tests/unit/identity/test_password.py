import time
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transom.identity.config import IdentityConfig
from transom.identity.logic.password import (
    DRAWN_COST_LOG2,
    Cost,
    fits,
    hashed,
    is_drawn,
    nobody,
)

CHEAP = Cost(log2_n=4)
SALT = b"s" * 16


@settings(max_examples=30)
@given(st.text(), st.text())
def test_a_record_fits_its_password_and_no_other(password: str, other: str) -> None:
    record = hashed(password, SALT, CHEAP)
    assert fits(password, record)
    assert fits(other, record) == (other == password)


def test_the_record_carries_its_cost_so_old_ones_go_on_to_fit() -> None:
    assert hashed("x", SALT, Cost(log2_n=5, r=4, p=2)).startswith("scrypt$5$4$2$")
    assert fits("x", hashed("x", SALT, Cost(log2_n=5, r=4, p=2)))


def test_nobodys_record_fits_nothing() -> None:
    assert not fits("", nobody(CHEAP))


def test_nobodys_record_costs_as_much_as_a_users() -> None:
    cost = Cost(log2_n=13)

    def spent_s(record: str) -> float:
        began_s = time.thread_time()
        fits("guess", record)
        return time.thread_time() - began_s

    user = min(spent_s(hashed("right", SALT, cost)) for _ in range(5))
    none = min(spent_s(nobody(cost)) for _ in range(5))
    assert 0.5 < none / user < 2


def test_the_default_cost_gives_its_memory_back() -> None:
    fits("warm", nobody(Cost()))
    before_bytes = _resident_bytes()
    for _ in range(2):
        fits("guess", nobody(Cost()))
    assert _resident_bytes() - before_bytes < 8 << 20


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("record", ["plain$1$1$1$AA==$AA==", "", "scrypt$5$4$2$AA=="])
def test_what_is_no_record_is_told(record: str) -> None:
    with pytest.raises(ValueError):
        fits("x", record)


def test_only_the_cost_of_drawn_passwords_says_that_one_was_drawn() -> None:
    assert is_drawn(hashed("x", SALT, Cost(log2_n=DRAWN_COST_LOG2)))
    assert not is_drawn(hashed("x", SALT, CHEAP))
    assert not is_drawn(nobody(Cost()))
    (cost,) = [entry for entry in fields(IdentityConfig) if entry.name == "password_cost_log2"]
    assert cost.metadata["option"].least > DRAWN_COST_LOG2
