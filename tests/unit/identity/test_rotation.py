from transom.identity.logic.rotation import KEPT_S, ended


def test_a_key_goes_when_its_successor_is_old_enough_and_the_newest_never() -> None:
    made_s = {1: 0.0, 2: 100.0, 3: 200.0}
    assert ended(made_s, 100.0 + KEPT_S - 1) == []
    assert ended(made_s, 100.0 + KEPT_S) == [1]
    assert ended(made_s, 200.0 + KEPT_S) == [1, 2]
    assert ended(made_s, 1000.0 + KEPT_S) == [1, 2]
    assert ended({}, 0.0) == []
