# SPDX-License-Identifier: Apache-2.0
"""Pre-signed URLs: the real server's signature, and nothing admitted but what was signed."""

import hashlib
import hmac
from dataclasses import replace

import pytest

from transom.queue.logic import signing
from transom.queue.logic.signing import SignedUrl

KEY = b"a key of the server"
NOW_MS = 1_784_000_000_000
LATER = signing.expires_text(NOW_MS + 86_400_000)
MESSAGES = "/v2/queues/jobs/messages"


def signed(
    paths: tuple[str, ...] = (MESSAGES,),
    methods: tuple[str, ...] = ("GET",),
    expires: str = LATER,
) -> SignedUrl:
    made = signing.signature(KEY, paths, methods, "p1", expires)
    return SignedUrl(paths, methods, "p1", expires, made)


def admits(url: SignedUrl, method: str = "GET", path: str = MESSAGES, now_ms: int = NOW_MS) -> bool:
    return signing.admits(KEY, url, method, path, now_ms)


def test_the_signature_is_of_sorted_lists_parted_by_a_backslash_and_an_n() -> None:
    text = rb"/v2/queues/q/claims,/v2/queues/q/messages\nGET,POST\np1\n2026-01-02T03:04:05"
    expected = hmac.new(KEY, text, hashlib.sha256).hexdigest()
    paths = ["/v2/queues/q/messages", "/v2/queues/q/claims"]
    assert expected == signing.signature(KEY, paths, ["POST", "GET"], "p1", "2026-01-02T03:04:05")


def test_admits_exactly_the_signed_methods_until_it_ends() -> None:
    url = signed(methods=("GET", "POST"))
    assert admits(url)
    assert admits(url, "POST")
    assert not admits(url, "DELETE")
    assert not admits(url, now_ms=NOW_MS + 86_400_000)
    assert not admits(signed(expires="tomorrow"))
    assert not admits(signed(expires="20260102"))


@pytest.mark.parametrize(
    "path",
    [
        "/v2/queues/jobs/messages2",
        "/v2/queues/jobs/claims",
        "/v2/queues/jobs",
        "/v2/queues/jobsX/messages",
        "/x/v2/queues/jobs/messages",
        "/v2/queues/jobs/messages/../claims",
        "/v2/queues/jobs/messages//x",
        "/v2/queues/jobs/messages/.",
    ],
)
def test_admits_no_path_beside_the_signed_ones(path: str) -> None:
    assert not admits(signed(), path=path)


def test_a_dot_in_a_name_stands_for_itself() -> None:
    url = signed(paths=("/v2/queues/a.b/messages",))
    assert admits(url, path="/v2/queues/a.b/messages")
    assert not admits(url, path="/v2/queues/axb/messages")


def test_what_is_below_the_messages_goes_with_them_but_nothing_goes_with_other_paths() -> None:
    assert admits(signed(), path=f"{MESSAGES}/0000-1")
    confirm = "/v2/queues/jobs/subscriptions/s1/confirm"
    assert admits(signed(paths=(confirm,)), path=confirm)
    assert not admits(signed(paths=(confirm,)), path=f"{confirm}/x")
    assert not admits(signed(paths=("/v2/queues/jobs",)), path=MESSAGES)


@pytest.mark.parametrize(
    "changed",
    [
        {"project_id": "p2"},
        {"paths": (MESSAGES, "/v2/queues/other/messages")},
        {"methods": ("GET", "POST")},
        {"expires": signing.expires_text(NOW_MS + 2 * 86_400_000)},
        {"signature": "0" * 64},
        {"signature": ""},
        {"signature": "\xff" * 64},
    ],
)
def test_anything_changed_admits_nothing(changed: dict[str, object]) -> None:
    assert not admits(replace(signed(), **changed))  # type: ignore[arg-type]


def test_another_key_admits_nothing() -> None:
    assert not signing.admits(b"another", signed(), "GET", MESSAGES, NOW_MS)


def test_moments_are_read_with_and_without_an_offset() -> None:
    assert signing.moment_of("2026-01-02T03:04:05") == 1_767_323_045_000
    assert signing.moment_of("2026-01-02T05:04:05+02:00") == 1_767_323_045_000
    assert signing.moment_of("2026-01-02T03:04:05Z") == 1_767_323_045_000
    assert signing.moment_of("soon") is None
    assert signing.moment_of("1234567890") is None


def test_what_is_no_moment_of_this_world_is_none() -> None:
    assert signing.moment_of("2026-13-02T03:04:05") is None
    assert signing.moment_of("2026-01-02") is None
    assert signing.moment_of("9999-12-31T23:59:59-00:01") is None
    assert signing.moment_of("0001-01-01T00:00:00+23:59") is None
    last = signing.moment_of("9999-12-31T23:59:59")
    assert last is not None
    assert signing.expires_text(last) == "9999-12-31T23:59:59"
    assert signing.moment_of("2026-01-02 03:04:05") == 1_767_323_045_000
