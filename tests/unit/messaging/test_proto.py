"""The pure machines of calls and deliveries, by table and by property."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.messaging.proto.call import Call, Expired, SendAgain, Sleep
from transom.messaging.proto.delivery import TRANSITIONS, DuplicateWindow, State, Verb, settle


def started(deadline_s: float = 10.0, **options) -> Call[str]:
    return Call(0.0, deadline_s, **options)


def test_answer_ends_the_call_and_its_copy_changes_nothing() -> None:
    call = started()
    assert call.hear("x", 1.0, ending=True, empty=False) == "x"
    assert call.gone
    assert call.hear("y", 1.0, ending=True, empty=False) is None


def test_null_is_an_answer_when_it_is_the_ending() -> None:
    assert started().hear("null", 1.0, ending=True, empty=True) == "null"


def test_payload_before_the_ending_is_kept() -> None:
    call = started()
    assert call.hear("payload", 1.0, ending=False, empty=False) is None
    assert call.hear("", 1.1, ending=True, empty=True) == "payload"


def test_call_expires_at_its_deadline() -> None:
    call = started()
    assert call.wake(9.0) == Sleep(10.0)
    assert call.wake(10.0) == Expired(silent=False)
    assert call.hear("x", 10.0, ending=True, empty=False) is None


def test_answer_at_the_deadline_is_late_though_the_timer_has_not_run() -> None:
    assert started().hear("x", 10.0, ending=True, empty=False) is None


def test_silence_ends_a_monitored_call_and_heartbeats_keep_it() -> None:
    call = started(monitor_s=2.0)
    assert call.wake_s() == 2.0
    assert call.hear("", 1.5, ending=False, empty=True) is None
    assert call.wake(2.0) == Sleep(3.5)
    assert call.wake(3.5) == Expired(silent=True)


def test_heartbeats_do_not_extend_the_deadline() -> None:
    call = started(monitor_s=6.0)
    call.hear("", 9.0, ending=False, empty=True)
    assert call.wake(9.5) == Sleep(10.0)
    assert call.wake(10.0) == Expired(silent=False)


def test_unanswered_call_is_sent_again_at_growing_intervals_and_not_for_ever() -> None:
    call = started(100.0, resend_s=2.0, resends_max=3)
    assert call.wake_s() == 2.0
    assert call.wake(1.0) == Sleep(2.0)
    assert call.wake(2.0) == SendAgain(4.0)
    assert call.wake(4.0) == SendAgain(8.0)
    assert call.wake(8.0) == SendAgain(100.0)
    assert call.wake(50.0) == Sleep(100.0)


def test_call_that_is_being_carried_out_is_not_sent_again() -> None:
    call = started(resend_s=2.0, resends_max=3)
    call.hear("", 1.5, ending=False, empty=True)
    assert call.wake(2.0) == Sleep(3.5)


event = st.tuples(st.sampled_from(["wake", "answer", "heartbeat", "payload"]), st.floats(0.0, 3.0))


@given(st.lists(event, max_size=40), st.none() | st.floats(1, 5), st.none() | st.floats(1, 5))
def test_call_ends_once_and_by_its_deadline(events, monitor_s, resend_s) -> None:
    call = started(monitor_s=monitor_s, resend_s=resend_s, resends_max=3)
    now, endings, resends = 0.0, 0, 0
    for verb, passed in events:
        now += passed
        if verb == "wake":
            if call.gone:
                continue  # whose timer is gone too
            outcome = call.wake(now)
            if isinstance(outcome, SendAgain | Sleep):
                assert now < outcome.wake_s <= 10.0
            resends += isinstance(outcome, SendAgain)
            endings += isinstance(outcome, Expired)
        else:
            ending = verb == "answer"
            found = call.hear(verb, now, ending=ending, empty=verb == "heartbeat")
            endings += found is not None
    assert endings == call.gone
    assert resends <= 3
    assert call.gone or isinstance(call.wake(max(now, 10.0)), Expired)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("verb", Verb)
def test_delivery_is_settled_once(state, verb) -> None:
    if (state, verb) in TRANSITIONS:
        following = settle(state, verb)
        assert following is not State.OUT
        assert state is State.OUT or following is state
    else:
        assert state in {State.ACKNOWLEDGED, State.REQUEUED}
        with pytest.raises(ValueError, match="already"):
            settle(state, verb)


def test_copies_are_seen_within_their_time_however_many_come_between() -> None:
    window = DuplicateWindow(ids_max=1000)
    assert window.first("a", 0, 100)
    for number in range(500):
        assert window.first(f"x{number}", 1, 100)
    assert not window.first("a", 99, 200)
    assert window.first("a", 100, 200), "its message may no longer be carried out"


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 50)), max_size=300))
def test_window_is_bounded(events) -> None:
    window = DuplicateWindow(ids_max=5)
    for now, (name, span) in enumerate(events):
        window.first(str(name), now, now + span)
        assert len(window) <= 5


def test_what_is_over_does_not_pile_up() -> None:
    window = DuplicateWindow()
    for number in range(1000):
        window.first(str(number), number, number + 10)
    assert len(window) <= 11


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 30)), max_size=100))
def test_window_agrees_with_a_plain_list_of_what_was_seen(events) -> None:
    window = DuplicateWindow()
    seen: dict[int, int] = {}
    for now, (name, span) in enumerate(events):
        assert window.first(str(name), now, now + span) is (seen.get(name, 0) <= now)
        if seen.get(name, 0) <= now:
            seen[name] = now + span
