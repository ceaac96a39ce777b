import pytest

from transom.identity.logic.guessing import (
    ADDRESS_FREE,
    ADDRESS_WAIT_MOST_S,
    KNOWN_S,
    USER_FREE,
    USER_WAIT_MOST_S,
    Guesses,
    network_of,
)

HERE, THERE = "192.0.2.1", "192.0.2.2"


def failing(guesses: Guesses, user: str, client: str, count: int) -> None:
    for _ in range(count):
        guesses.begin(user, client, 0.0)
        guesses.failed(user, client, 0.0)


def test_a_user_is_slowed_down_from_everywhere() -> None:
    guesses = Guesses()
    failing(guesses, "alice", HERE, USER_FREE)
    assert guesses.wait_s("alice", THERE, 0.0) > 0
    assert guesses.wait_s("bob", HERE, 0.0) == 0


def test_an_address_that_tries_many_users_is_slowed_down_for_all_of_them() -> None:
    guesses = Guesses()
    for number in range(ADDRESS_FREE):
        failing(guesses, f"user {number}", HERE, 1)
    assert guesses.wait_s("another", HERE, 0.0) > 0
    assert guesses.wait_s("another", THERE, 0.0) == 0


def test_an_account_of_ones_own_buys_no_guesses_at_others() -> None:
    guesses = Guesses()
    for number in range(ADDRESS_FREE):
        failing(guesses, f"user {number}", HERE, 1)
        guesses.succeeded("own", HERE, 0.0)
    assert guesses.wait_s("another", HERE, 0.0) > 0


def test_who_signed_in_from_an_address_is_not_held_up_by_others_there_for_a_day() -> None:
    guesses = Guesses()
    guesses.succeeded("alice", HERE, 0.0)
    failing(guesses, "bob", HERE, ADDRESS_FREE)
    assert guesses.wait_s("alice", HERE, 0.0) == 0
    assert guesses.wait_s("carol", HERE, 0.0) > 0
    for number in range(ADDRESS_FREE):
        guesses.failed(f"user {number}", HERE, KNOWN_S)
    assert guesses.wait_s("alice", HERE, KNOWN_S) > 0


def test_no_wait_is_longer_than_the_longest_however_many_fail() -> None:
    guesses = Guesses()
    failing(guesses, "alice", HERE, 1000)
    assert guesses.wait_s("alice", THERE, 0.0) == USER_WAIT_MOST_S
    assert guesses.wait_s("bob", HERE, 0.0) == ADDRESS_WAIT_MOST_S


def test_what_is_remembered_is_bounded() -> None:
    guesses = Guesses(keys_max=10)
    for number in range(100):
        failing(guesses, f"user {number}", f"192.0.2.{number}", 1)
        guesses.succeeded(f"user {number}", HERE, 0.0)
        failing(guesses, f"user {number}", f"198.51.100.{number}", 1)
    assert len(guesses) == 30


@pytest.mark.parametrize(
    ("client", "network"),
    [
        ("127.0.0.1", "loopback"),
        ("127.9.9.9", "loopback"),
        ("::1", "loopback"),
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("", ""),
    ],
)
def test_addresses_that_one_caller_can_choose_from_are_one(client: str, network: str) -> None:
    assert network_of(client) == network
