# SPDX-License-Identifier: Apache-2.0
"""Odd input to every route of the queue and every field that ends in a database: refused or kept,
never a failure of the server's."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from support.queues import CLIENT, Door, open_door

pytestmark = pytest.mark.usefixtures("engine")
Q = "/v2/queues/q"
ODD = (
    "\x00",
    "a\x00b",
    "\ud800",
    "\udfff\ud800",
    "\u202e\u0000\ufffe",
    "ａ" * 64,
    "x" * 5000,
    "9" * 5000,
    "%00",
    "'; drop table message; --",
    "%_\\",
    "\n",
    "é\u0301",
    "😀" * 40,
)
NUMBERS = ("-1", "1.5", "1e3", "1e400", str(2**63), str(2**64), "9" * 400, "9" * 5000, "true",
           '"1"', "null", "[]", "-0", "-9223372036854775809")  # fmt: skip


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with open_door(tmp_path, max_wait_s=1) as door:
        yield door


def fields() -> list[tuple[str, str, str, Any]]:
    """(token, method, path, body in which "@" is what is odd)."""
    mine, many = f"{Q}/claims/@claim", "/v2/claims/@claim"
    terms = {"ttl": 60, "grace": 60}
    return [
        ("token-a", "PUT", Q, {"@": "@", "_dead_letter_queue": "@"}),
        ("token-a", "PUT", Q, {"deep": {"@": ["@"]}}),
        ("token-a", "POST", f"{Q}/messages", {"messages": [{"body": {"@": "@"}}]}),
        ("token-a", "POST", f"{Q}/messages", {"messages": [{"body": 1, "key": "@"}]}),
        ("token-a", "POST", f"{mine}/reject", {"reason": "@"}),
        ("token-a", "POST", f"{mine}/touch", {"ids": ["@"], "ttl": 60}),
        ("token-a", "POST", f"{mine}/release", {"ids": ["@"]}),
        ("token-a", "POST", f"{mine}/reject", {"ids": ["@"], "reason": "x"}),
        ("token-a", "POST", f"{Q}/redrive", {"to": "@"}),
        ("token-a", "POST", f"{Q}/redrive", {"ids": ["@"]}),
        ("token-a", "POST", f"{Q}/share", {"paths": ["@"]}),
        ("token-a", "POST", f"{Q}/share", {"methods": ["@"]}),
        ("token-a", "POST", f"{Q}/share", {"expires": "@"}),
        ("token-a", "POST", f"{Q}/purge", {"resource_types": ["@"]}),
        ("token-a", "POST", "/v2/claims", {"queues": ["@"], **terms}),
        ("token-a", "POST", "/v2/claims", {"queues": ["q", "@"], **terms}),
        ("token-a", "PATCH", many, terms),
        ("token-a", "POST", f"{Q}/subscriptions", {"subscriber": "@"}),
        ("token-a", "POST", f"{Q}/subscriptions", {"subscriber": "https://a.example/@"}),
        ("token-a", "POST", f"{Q}/subscriptions", {"subscriber": "https://@/"}),
        ("token-a", "POST", f"{Q}/subscriptions", {"subscriber": "https://@@a.example:@/"}),
        ("token-a", "POST", f"{Q}/subscriptions", {"subscriber": "mailto:@@a.example"}),
        *(
            (
                "token-a",
                "POST",
                f"{Q}/subscriptions",
                {"subscriber": "https://b.example/", "options": options},
            )
            for options in (
                {"@": "@"},
                {"post_data": "@"},
                {"post_headers": {"@": "a"}},
                {"post_headers": {"a": "@"}},
                {"from": "@", "subject": "@"},
                {"_signature": {"secret": "@" + 16 * "s"}},
                {"_retry_policy": {"@": 1}},
                {"_retry_policy": {"retry_backoff_function": "@"}},
            )
        ),
        ("token-admin", "PUT", "/v2/pools/p", {"uri": "@", "weight": 1}),
        ("token-admin", "PUT", "/v2/pools/p", {"uri": "sqlite:@", "weight": 1, "flavor": "@"}),
        ("token-admin", "PUT", "/v2/pools/p", {"uri": "sqlite:x", "weight": 1, "group": "@"}),
        ("token-admin", "PUT", "/v2/flavors/f", {"pool_list": ["@"]}),
    ]


def filled(value: Any, odd: str) -> Any:
    if isinstance(value, str):
        return value.replace("@@", "\x01").replace("@", odd).replace("\x01", "@")
    if isinstance(value, list):
        return [filled(one, odd) for one in value]
    if isinstance(value, dict):
        return {filled(key, odd): filled(one, odd) for key, one in value.items()}
    return value


async def claimed(door: Door) -> str:
    await door.ask("PUT", Q, {"_dead_letter_queue": "dead"})
    await door.ask("POST", f"{Q}/messages", {"messages": [{"body": 1}, {"body": 2}]})
    reply = await door.ask("POST", f"{Q}/claims?limit=1", {"ttl": 600, "grace": 60})
    return str(reply.headers["location"].rpartition("/")[2])


async def test_odd_texts_in_bodies_fail_nothing(door: Door) -> None:
    claim = await claimed(door)
    faults = []
    for token, method, path, body in fields():
        for odd in ODD:
            reply = await door.ask(
                method,
                path.replace("@claim", claim),
                raw=json.dumps(filled(body, odd)).encode(),
                token=token,
            )
            if reply.status >= 500:
                faults.append(f"{method} {path} {body} with {odd[:20]!r}: {reply.body!r}")
        for shown in (Q, f"{Q}/messages?details=true&include_claimed=true&echo=true",
                      f"{Q}/subscriptions?details=true", "/v2/queues?detailed=true"):  # fmt: skip
            reply = await door.ask("GET", shown)
            if reply.status != 200:
                faults.append(f"after {method} {path} {body}: {shown}: {reply.body!r}")
    assert not faults, "\n".join(faults)


async def test_odd_texts_in_paths_and_queries_fail_nothing(door: Door) -> None:
    claim = await claimed(door)
    faults = []
    templates = [
        "/v2/queues?marker={}", "/v2/queues?name={}", "/v2/queues?{}=1", "/v2/queues?colour={}",
        "/v2/queues?limit={}", "/v2/queues/{}", "/v2/queues/{}/stats", f"{Q}/messages?marker={{}}",
        f"{Q}/messages?ids={{}}", f"{Q}/messages?wait={{}}", f"{Q}/messages/{{}}",
        f"{Q}/messages/{{}}?claim_id={{}}", f"{Q}/claims/{{}}", "/v2/claims/{}",
        f"{Q}/claims/{claim}?details={{}}", f"{Q}/subscriptions?marker={{}}",
        f"{Q}/subscriptions?limit={{}}", f"{Q}/subscriptions/{{}}", "/v2/pools?marker={}",
        "/v2/pools/{}", "/v2/flavors?marker={}", "/v2/flavors/{}", "/v2/flavors?detailed={}",
    ]  # fmt: skip
    for template in templates:
        for odd in ODD:
            text = quote(odd.encode("utf-8", "surrogatepass"), safe="")
            for method in ("GET", "DELETE"):
                if method == "DELETE" and "?" in template and "claim_id" not in template:
                    continue
                path = template.replace("{}", text)
                reply = await door.ask(method, path, token="token-admin")
                if reply.status >= 500:
                    faults.append(f"{method} {path[:90]}: {reply.body!r}")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("number", NUMBERS)
async def test_odd_numbers_fail_nothing(door: Door, number: str) -> None:
    claim = await claimed(door)
    mine = f"{Q}/claims/{claim}"
    faults = []
    bodies = [
        ("PUT", "/v2/queues/q2", '{"_max_messages_post_size": @}'),
        ("PUT", "/v2/queues/q2", '{"_default_message_ttl": @}'),
        ("PUT", "/v2/queues/q2", '{"_default_message_delay": @}'),
        ("PUT", "/v2/queues/q2", '{"_max_claim_count": @}'),
        ("PUT", "/v2/queues/q2", '{"_message_key_window": @}'),
        ("PUT", "/v2/queues/q2", '{"_dead_letter_queue_messages_ttl": @}'),
        ("PUT", "/v2/queues/q2", '{"_enable_encrypt_messages": @}'),
        ("PUT", "/v2/queues/q2", '{"_retry_policy": {"retries_with_no_delay": @}}'),
        ("PUT", "/v2/queues/q2", '{"_retry_policy": {"minimum_delay": @, "maximum_delay": @}}'),
        ("POST", f"{Q}/messages", '{"messages": [{"body": @, "ttl": 60}]}'),
        ("POST", f"{Q}/messages", '{"messages": [{"body": 1, "ttl": @}]}'),
        ("POST", f"{Q}/messages", '{"messages": [{"body": 1, "delay": @}]}'),
        ("POST", f"{Q}/messages", '{"messages": [{"body": 1, "key": @}]}'),
        ("POST", f"{Q}/claims", '{"ttl": @, "grace": 60}'),
        ("POST", f"{Q}/claims", '{"ttl": 60, "grace": @}'),
        ("PATCH", mine, '{"ttl": @, "grace": 60}'),
        ("POST", f"{mine}/touch", '{"ttl": @}'),
        ("POST", f"{mine}/touch", '{"ttl": 60, "grace": @}'),
        ("POST", f"{mine}/release", '{"ids": [], "delay": @}'),
        ("POST", f"{Q}/redrive", '{"limit": @}'),
        ("POST", "/v2/claims", '{"queues": ["none"], "ttl": @, "grace": @}'),
        ("POST", f"{Q}/subscriptions", '{"subscriber": "https://c.example", "ttl": @}'),
        ("POST", f"{Q}/subscriptions", '{"subscriber": "https://c.example", "options": {"a": @}}'),
    ]
    for method, path, body in bodies:
        reply = await door.ask(method, path, raw=body.replace("@", number).encode())
        if reply.status >= 500:
            faults.append(f"{method} {path} {body}: {reply.body!r}")
    text = quote(number)
    for method, path in (
        ("GET", f"/v2/queues?limit={text}"),
        ("GET", f"{Q}/messages?limit={text}&limit={text}"),
        ("GET", f"/v2/queues/none/messages?wait={text}&limit=1"),
        ("DELETE", f"/v2/queues/none/messages?pop={text}"),
        ("POST", f"/v2/queues/none/claims?limit={text}&wait=0"),
        ("DELETE", f"/v2/queues/none/claims/{claim}?delay={text}"),
        ("GET", f"{Q}/subscriptions?limit={text}"),
        ("GET", f"/v2/pools?limit={text}"),
        ("GET", f"/v2/flavors?limit={text}"),
    ):
        reply = await door.ask(method, path, token="token-admin")
        if reply.status >= 500:
            faults.append(f"{method} {path}: {reply.body!r}")
    for shown in (f"{Q}/subscriptions?details=true", f"{Q}/messages?details=true&echo=true"):
        if (await door.ask("GET", shown)).status != 200:
            faults.append(shown)
    assert not faults, "\n".join(faults)


async def test_odd_headers_fail_nothing(door: Door) -> None:
    for name in ("client-id", "idempotency-key", "x-project-id", "url-signature", "url-expires",
                 "url-paths", "url-methods"):  # fmt: skip
        for odd in ("\xff\xfe", "a" * 4000, "'", "9" * 40, ",", "{}", f"{CLIENT}\x00"):
            headers = {"client-id": CLIENT, name: odd}
            for token in ("token-a", ""):
                try:
                    reply = await door.ask(
                        "POST",
                        f"{Q}/messages",
                        {"messages": [{"body": 1}]},
                        headers=headers,
                        client=None,
                        token=token,
                    )
                except ConnectionError:
                    continue  # no HTTP any more
                assert reply.status < 500, (name, odd, reply.body)
