from hypothesis import given
from hypothesis import strategies as st

from transom.identity.logic.backoff import FORGET_S, Backoff

FREE, WAIT_MOST_S = 5, 60.0


def made(keys_max: int = 100) -> Backoff:
    return Backoff(FREE, WAIT_MOST_S, keys_max)


def admit(backoff: Backoff, key: str, now_s: float) -> float:
    """The wait; a guess is let through if there is none."""
    wait_s = backoff.wait_s(key, now_s)
    if wait_s == 0.0:
        backoff.begin(key, now_s)
    return wait_s


def failing(backoff: Backoff, key: str, count: int, now_s: float = 0.0) -> None:
    for _ in range(count):
        backoff.failed(key, now_s)


def test_the_first_failures_cost_nothing() -> None:
    backoff = made()
    failing(backoff, "k", FREE - 1)
    assert admit(backoff, "k", 0.0) == 0.0


def test_each_further_failure_doubles_the_wait_up_to_the_most() -> None:
    backoff = made()
    failing(backoff, "k", FREE)
    now_s, waits = 0.0, []
    for _ in range(9):
        wait_s = admit(backoff, "k", now_s)
        waits.append(wait_s)
        now_s += wait_s
        assert admit(backoff, "k", now_s) == 0.0
        backoff.failed("k", now_s)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, WAIT_MOST_S]


def test_after_the_free_ones_only_one_guess_at_a_time_is_let_through() -> None:
    backoff = made()
    failing(backoff, "k", FREE)
    assert [admit(backoff, "k", 1.0) == 0.0 for _ in range(5)] == [True] + [False] * 4


def test_one_key_does_not_slow_another() -> None:
    backoff = made()
    failing(backoff, "k", 20)
    assert admit(backoff, "other", 0.0) == 0.0


def test_a_success_and_a_long_pause_clear_the_key() -> None:
    backoff = made()
    failing(backoff, "k", 20)
    backoff.succeeded("k")
    assert admit(backoff, "k", 0.0) == 0.0
    failing(backoff, "k", 20)
    assert admit(backoff, "k", FORGET_S) == 0.0
    backoff.failed("k", FORGET_S)
    assert admit(backoff, "k", FORGET_S) == 0.0


def test_at_most_so_many_keys_are_kept_and_the_latest_stay() -> None:
    backoff = made(keys_max=10)
    for number in range(100):
        failing(backoff, f"k{number}", FREE)
    assert len(backoff) == 10
    assert admit(backoff, "k99", 0.0) > 0
    assert admit(backoff, "k0", 0.0) == 0.0


@given(st.lists(st.floats(0, 30), max_size=200))
def test_whatever_the_rhythm_guesses_are_few(pauses_s: list[float]) -> None:
    """With all guesses wrong, n of them take at least the sum of the waits between them."""
    backoff, now_s, let_through = made(), 0.0, []
    for pause_s in pauses_s:
        now_s += pause_s
        if admit(backoff, "k", now_s) == 0.0:
            let_through.append(now_s)
            backoff.failed("k", now_s)
    waits_s = [min(2.0**number, WAIT_MOST_S) for number in range(len(let_through))]
    for earlier, later, wait_s in zip(
        let_through[FREE - 1 :], let_through[FREE:], waits_s, strict=False
    ):
        assert later - earlier >= wait_s - 1e-9
