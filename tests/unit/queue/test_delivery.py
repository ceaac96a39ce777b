"""Retry policies, the life of a notice, addresses, documents; figures of all that."""

import hashlib
import hmac
import json
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.queue.logic import delivery, notification
from transom.queue.logic.addresses import admitted, literal, networks
from transom.queue.logic.delivery import Again, Delivered, Undeliverable, answered, next_step
from transom.queue.logic.retries import FUNCTIONS, RetryPolicy, check_policy, policy_of
from transom.queue.logic.signing import SignedUrl
from transom.queue.logic.subscriptions import (
    check_options,
    check_reachable,
    check_ttl,
    destination,
    shown_subscriber,
    split_signing,
)
from transom.queue.model import (
    ClientId,
    InvalidAttribute,
    InvalidSubscription,
    MessageId,
    Notice,
    OutOfRange,
)

NOW_MS = 1_700_000_000_000


def pauses(policy: RetryPolicy) -> list[int]:
    found: list[int] = []
    while (pause_s := policy.pause_s(len(found) + 1)) is not None:
        found.append(pause_s)
    return found


def test_the_default_policy_is_zaqars() -> None:
    assert pauses(RetryPolicy()) == [0, 0, 0, 5, 5, 5, 5, 10, 15, 20, 25, 30, 30, 30]


def test_who_is_down_is_not_flooded() -> None:
    found = pauses(RetryPolicy(at_once=30, at_least=0, longest_s=15, at_longest=0))
    assert found[:30] == [0] * 20 + [1] * 10


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("linear", [10, 15, 20, 25, 30, 35]),
        ("arithmetic", [10, 12, 16, 22, 30, 40]),
        ("geometric", [10, 13, 17, 22, 30, 40]),
        ("exponential", [10, 13, 17, 22, 30, 40]),
    ],
)
def test_growing_pauses_follow_their_function(function: str, expected: list[int]) -> None:
    policy = RetryPolicy(0, 0, 10, 40, 0, function)
    found = pauses(policy)
    assert len(found) == 6
    assert all(abs(one - other) <= 1 for one, other in zip(found, expected, strict=True)), found


@given(
    st.builds(
        RetryPolicy,
        st.integers(0, 5),
        st.integers(0, 5),
        st.integers(0, 100),
        st.integers(110, 600),
        st.integers(0, 5),
        st.sampled_from(FUNCTIONS),
    )
)
def test_every_policy_ends_and_no_pause_is_out_of_bounds(policy: RetryPolicy) -> None:
    found = pauses(policy)
    number = policy.at_once + policy.at_least + policy.growing + policy.at_longest
    assert len(found) == number
    assert all(0 <= pause_s <= policy.longest_s for pause_s in found)
    grown = found[policy.at_once + policy.at_least :]
    assert grown == sorted(grown)


@pytest.mark.parametrize(
    "policy",
    [
        1, [], {"minimum_delay": -1}, {"minimum_delay": "5"}, {"retries_with_no_delay": True},
        {"minimum_delay": 25}, {"minimum_delay": 10, "maximum_delay": 19}, {"unknown": 1},
        {"maximum_delay": 86_401}, {"retry_backoff_function": "cubic"},
        {"ignore_subscription_override": 1},
    ],
)  # fmt: skip
def test_what_is_no_policy_is_refused(policy: object) -> None:
    with pytest.raises(InvalidAttribute):
        check_policy(policy)


@pytest.mark.parametrize(
    "policy", [None, {}, {"minimum_delay": None}, {"maximum_delay": 15}, {"minimum_delay": 20}]
)
def test_what_is_one_is_taken(policy: object) -> None:
    check_policy(policy)


def test_the_subscriptions_policy_goes_before_the_queues_unless_one_says_otherwise() -> None:
    own, queue = {"retries_with_no_delay": 7}, {"retries_with_no_delay": 9}
    override = {"ignore_subscription_override": True}
    assert policy_of(own, queue).at_once == 7
    assert policy_of(None, queue).at_once == policy_of({}, queue).at_once == 9
    assert policy_of(own, {**queue, **override}).at_once == 9
    assert policy_of({**own, **override}, queue).at_once == 9
    assert policy_of(None, None) == RetryPolicy()


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (200, "DELIVERED"), (204, "DELIVERED"), (299, "DELIVERED"), (301, "REFUSED"),
        (307, "REFUSED"), (400, "REFUSED"), (404, "REFUSED"), (408, "FAILED"), (410, "REFUSED"),
        (429, "FAILED"), (500, "FAILED"), (503, "FAILED"), (599, "FAILED"),
    ],
)  # fmt: skip
def test_what_an_answer_means(status: int, result: str) -> None:
    assert answered(status, "", NOW_MS).result is delivery.Result[result]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", 0), ("7", 7), ("99999999999", 3600), ("-1", 0), ("soon", 0),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30), ("Tue, 14 Nov 2000 22:13:50 GMT", 0),
        ("Tue, 14 Nov 2093 22:13:50 GMT", 3600),
    ],
)  # fmt: skip
def test_retry_after_is_read_in_both_forms_and_bounded(header: str, seconds: int) -> None:
    assert answered(503, header, NOW_MS).retry_after_s == seconds


def test_a_notice_is_tried_until_its_policy_is_used_up() -> None:
    policy, tries, waited_ms = RetryPolicy(1, 1, 5, 15, 1), 0, []
    now_ms = NOW_MS
    while True:
        step = next_step(policy, tries, delivery.failed("no"), now_ms)
        if not isinstance(step, Again):
            break
        assert step.tries == tries + 1
        waited_ms.append(step.at_ms - now_ms)
        tries, now_ms = step.tries, step.at_ms
    assert waited_ms == [0, 5000, 5000, 10_000, 15_000]
    assert step == Undeliverable("no It was tried 6 times.")
    assert next_step(policy, 3, delivery.DELIVERED, now_ms) == Delivered()
    assert next_step(policy, 0, delivery.refused("never"), now_ms) == Undeliverable("never")
    asked = next_step(policy, 0, delivery.failed("busy", 60), now_ms)
    assert asked == Again(1, now_ms + 60_000, "busy")


def test_a_message_whose_ttl_has_ended_is_given_up() -> None:
    assert delivery.ended(NOW_MS + 1, NOW_MS, "") is None
    found = delivery.ended(NOW_MS, NOW_MS, "The subscriber answered 500.")
    assert found is not None
    assert found.error.endswith("delivered. The subscriber answered 500.")


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "0.0.0.0", "224.0.0.1", "255.255.255.255", "192.88.99.1", "168.63.129.16", "::1", "::",
        "fe80::1", "fd00::1", "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::127.0.0.1",
        "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:80ff:fffe",
        "::ffff:0:127.0.0.1", "64:ff9b:1:a00:0:100:808:808", "::8.8.8.8", "192.0.0.192",
        "4000::1", "5f00::1", "1::1", "200::1", "3fff::1", "2002:c000:c0::1", "ff0e::1",
    ],
)  # fmt: skip
def test_addresses_that_only_we_reach_are_refused(text: str) -> None:
    assert not admitted(ip_address(text), ())


@pytest.mark.parametrize(
    "text", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
)
def test_public_addresses_are_admitted(text: str) -> None:
    assert admitted(ip_address(text), ())


def test_networks_that_the_operator_allows_are_admitted_in_every_form() -> None:
    allowed = networks(("10.1.0.0/16", " fd00::/8"))
    for text in ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203", "fd12::1"):
        assert admitted(ip_address(text), allowed), text
    assert not admitted(ip_address("10.2.0.1"), allowed)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.1", "127.0.0.1"), ("0x7f000001", "127.0.0.1"), ("2130706433", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"), ("127.0.0.1.", "127.0.0.1"), ("[::1]", "::1"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)  # fmt: skip
def test_addresses_are_known_in_every_form_that_a_resolver_takes(host: str, address: str) -> None:
    assert literal(host) == ip_address(address)


@pytest.mark.parametrize("host", ["example.org", "1.2.3.4.5", "256.1.1.1", "0x", "", "a.1", "1..2"])
def test_names_are_no_addresses(host: str) -> None:
    assert literal(host) is None


def test_what_is_told_of_a_subscriber_holds_no_secret() -> None:
    shown = shown_subscriber("trust+https://user:pass@hook.example:1/path?token=x#y")
    assert shown == "trust+https://hook.example"
    assert shown_subscriber("mailto:a@b.example?subject=x") == "mailto"


def test_whose_token_goes_along_is_told_by_the_scheme() -> None:
    assert destination("trust+https://c.example/").by_trust
    assert not destination("https://c.example/").by_trust


def test_a_mail_subscriber_may_name_a_subject() -> None:
    found = destination("mailto:a%2Bb@c.example?Subject=Hello%20you")
    assert (found.address, found.subject) == ("a+b@c.example", "Hello you")


def test_a_secret_is_taken_out_of_the_options() -> None:
    kept, signing = split_signing({"a": 1, "_signature": {"secret": "s" * 16}})
    assert (kept, signing.secret, signing.wanted) == ({"a": 1, "_signature": True}, "s" * 16, True)
    assert split_signing({"_signature": False}) == ({}, split_signing({})[1])


@pytest.mark.parametrize("name", ["content-length", "Transfer-Encoding", "X-Auth-Token"])
def test_headers_that_frame_or_authorise_are_not_the_subscribers(name: str) -> None:
    with pytest.raises(InvalidSubscription):
        check_options({"post_headers": {name: "x"}})


@pytest.mark.parametrize("name", ["from", "subject"])
def test_no_line_of_a_mail_is_in_disguise(name: str) -> None:
    with pytest.raises(InvalidSubscription):
        check_options({name: "=?utf-8?q?x=0aBcc:_a@b?= <a@b>"})


BODIES = ["null", '{"a": [1.50, 1e400, 12345678901234567890]}', '"$zaqar_message$"']


@pytest.mark.parametrize("body", BODIES)
def test_a_document_holds_the_bodys_own_bytes(body: str) -> None:
    notice = Notice(MessageId(1, 2), 0, 1, 60, ClientId(b"c" * 16), body.encode())
    made = notification.document("q", notice)
    assert f'"body":{body}'.encode() in made
    filled = notification.filled({"post_data": '{"x": "$zaqar_message$"}'}, made)
    assert filled == b'{"x": ' + made + b"}"
    assert notification.filled({}, made) == made
    assert set(json.loads(made)) == {"ttl", "body", "queue_name", "Message_Type"}


def test_a_signature_is_one_that_anybody_can_compute() -> None:
    expected = hmac.new(b"secret", b"123.body", hashlib.sha256).hexdigest()
    assert notification.signature(b"secret", "123", b"body") == f"sha256={expected}"


@pytest.mark.parametrize(
    "subscriber",
    [
        "x" * 3000, "http://a\nb", "ftp://a", "http://", "http://a:b/", "http://[::1", "mailto:a",
        "mailto:a@b?subject=%0a", "mailto:a%00@b", "mailto:a@b?subject=%3D?utf-8?q?x=0ay?=",
    ],
)  # fmt: skip
def test_what_is_no_subscriber_is_refused(subscriber: str) -> None:
    with pytest.raises(InvalidSubscription):
        destination(subscriber)


def test_literal_addresses_are_looked_at_at_once_and_mails_and_names_are_not() -> None:
    for subscriber in ("mailto:a@b.example", "https://127.0.0.1.example/", "http://8.8.8.8/"):
        check_reachable(destination(subscriber), ())
    with pytest.raises(InvalidSubscription, match="webhook_allow"):
        check_reachable(destination("trust+http://127.0.0.1/"), ())


@pytest.mark.parametrize("ttl_s", [59, 10**11])
def test_a_life_has_bounds(ttl_s: int) -> None:
    assert check_ttl(60) == 60
    with pytest.raises(OutOfRange):
        check_ttl(ttl_s)


@pytest.mark.parametrize(
    "options",
    [
        {"subject": 1}, {"from": "a\nb"}, {"post_headers": []}, {"post_headers": {"a": 1}},
        {"_signature": {"secret": "short"}}, {"_signature": {"secret": "s" * 16, "x": 1}},
        {"_signature": "s" * 16},
    ],
)  # fmt: skip
def test_options_that_cannot_be_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InvalidSubscription):
        check_options(options)
    check_options({"post_headers": None, "_signature": True, "anything": options})
    check_options({"post_headers": {"a": "b"}, "_signature": {"secret": "s" * 16}})


@pytest.mark.parametrize("kind", [notification.SUBSCRIBED, notification.UNSUBSCRIBED])
def test_a_confirmation_says_all_that_it_takes_and_fits_into_a_link(kind: str) -> None:
    path = "/v2/queues/q/subscriptions/i/confirm"
    signed = SignedUrl((path,), ("PUT",), "p&q", "2026-01-01T00:00:00", "ab")
    made = notification.confirmation(kind, "q", signed, "https://x/queue", "wss://x")
    assert made["WSGISubscribeURL"] == f"https://x/queue{path}"
    assert made["Message_Type"] == kind
    link = notification.confirmation_link("https://y", made)
    assert link.startswith("https://y?Signature=ab&Methods=PUT&Paths=/v2/queues/q")
    assert "Project=p%26q" in link


def test_headers_of_a_subscription_replace_ours_but_not_the_marks() -> None:
    options = {"post_headers": {"content-type": "text/x", "transom-message-id": "forged"}}
    made = notification.headers(options, {"Transom-Message-Id": "true"})
    assert made == {"Content-Type": "text/x", "Transom-Message-Id": "true"}
    assert notification.headers({}, {}) == {"Content-Type": "application/json"}
