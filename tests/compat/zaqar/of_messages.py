# SPDX-License-Identifier: Apache-2.0
"""Messages: posting, pages and markers, by ids, deleting, popping."""

from typing import Any

from compat.zaqar.walk import CLIENT, OTHER, Scenario, Walk

MESSAGES = "/v2/queues/q/messages"
NOWHERE = "1e1e1e1e-1e1e-4e1e-8e1e-1e1e1e1e1e1e"


def posts(it: Walk) -> None:
    def post(step: str, *messages: Any, **more: Any) -> None:
        it.ask(step, "POST", MESSAGES, {"messages": list(messages), **more})

    for name, body in (
        ("null", None),
        ("true", True),
        ("number", 1),
        ("fraction", 1.5),
        ("text", "ä"),
        ("empty", ""),
        ("list", [1, [2]]),
        ("object", {"a": {"b": None}}),
        ("large", 2**63),
        ("small", -(2**63)),
        ("very large", 10**30),
        ("escaped", "\u0000\u2028"),
    ):
        post(f"a body of {name}", {"body": body})
    for value in (60, 59, 0, -1, 1_209_600, 1_209_601, "60", 60.5, True, None, [], 2**70):
        post(f"ttl {value!r}", {"body": 1, "ttl": value})
    for value in (0, 900, 901, -1, "1", 1.5, True, None):
        post(f"delay {value!r}", {"body": 1, "ttl": 300, "delay": value})
    post("none")
    post("without a body", {"ttl": 300})
    post("no object", 1)
    post("unknown fields", {"body": 1, "ttl": 300, "unknown": 1})
    post("a field beside", {"body": 1}, more=1)
    post("three", {"body": 1}, {"body": 2}, {"body": 3})
    post("one of three is bad", {"body": 1}, {"body": 2, "ttl": 1}, {"body": 3})
    post("a hundred", *[{"body": at} for at in range(100)])
    it.ask("an object for a list", "POST", MESSAGES, {"messages": {"body": 1}})
    it.ask("null for a list", "POST", MESSAGES, {"messages": None})
    it.ask("a bare list", "POST", MESSAGES, [{"body": 1}])
    it.ask("no messages", "POST", MESSAGES, {"other": 1})
    it.ask("too large", "POST", MESSAGES, {"messages": [{"body": "x" * 262_144}]})
    it.ask("nearly too large", "POST", MESSAGES, {"messages": [{"body": "x" * 262_000}]})
    it.ask("far too large", "POST", MESSAGES, {"messages": [{"body": "x" * 2_000_000}]})


def kept_as_they_came(it: Walk) -> None:
    raw = '{"messages":[{"body": {"a" : 1.0, "b":1e3, "ü":"\\u00e9"},"ttl":60}]}'.encode()
    it.ask("post", "POST", MESSAGES, raw=raw)
    it.ask("list", "GET", f"{MESSAGES}?echo=true")


def pages(it: Walk) -> None:
    it.ask("a missing queue", "GET", MESSAGES)
    it.quiet("PUT", "/v2/queues/q")
    it.ask("an empty queue", "GET", MESSAGES)
    ids = it.post("q", *range(25))
    for query in (
        "",
        "echo=true",
        "echo=True",
        "echo=1",
        "echo=yes",
        "echo=on",
        "echo=t",
        "echo=false",
        "echo=no",
        "echo=",
        "echo=x",
        "echo=true&limit=1",
        "echo=true&limit=20",
        "echo=true&limit=21",
        "limit=0",
        "limit=-1",
        "limit=x",
        "limit=1.5",
        "limit=",
        "echo=true&limit=2&include_claimed=false",
        "echo=true&limit=2&include_delayed=true",
        "echo=true&limit=2&include_delayed=false",
        "include_claimed=x",
        "include_delayed=x",
        "echo=true&unknown=1&limit=1",
        "marker=&echo=true&limit=1",
    ):
        it.ask(f"?{query}", "GET", f"{MESSAGES}?{query}")
    it.ask("to another client", "GET", f"{MESSAGES}?limit=3", client=OTHER)
    it.ask("abroad", "GET", f"{MESSAGES}?echo=true", project="abroad")
    for label, marker in (
        ("the first", ids[0]),
        ("the tenth", ids[9]),
        ("the last", ids[24]),
        ("nowhere", NOWHERE),
        ("no id", "x"),
    ):
        it.ask(f"after {label}", "GET", f"{MESSAGES}?echo=true&limit=2&marker={marker}")
    it.quiet("DELETE", f"{MESSAGES}/{ids[9]}")
    it.ask("after one that is gone", "GET", f"{MESSAGES}?echo=true&limit=2&marker={ids[9]}")
    seen: list[Any] = []
    href = f"{MESSAGES}?echo=true&limit=7"
    while messages := (page := it.quiet("GET", href).json())["messages"]:
        seen += [message["body"] for message in messages]
        href = page["links"][0]["href"]
    it.ask("behind the end", "GET", href)
    assert seen == [at for at in range(25) if at != 9], (it.peer, seen)


def pages_with_claims(it: Walk) -> None:
    it.post("q", *range(8))
    it.claim("q", 4)
    first = it.quiet("GET", f"{MESSAGES}?echo=true").json()["messages"]
    assert [message["body"] for message in first] == [4, 5, 6, 7]
    it.ask("free ones", "GET", f"{MESSAGES}?echo=true")
    it.ask("free ones, two", "GET", f"{MESSAGES}?echo=true&limit=2")
    it.ask("all", "GET", f"{MESSAGES}?echo=true&include_claimed=true")
    it.ask(
        "all, after a marker",
        "GET",
        f"{MESSAGES}?echo=true&include_claimed=true&limit=3&marker={first[0]['id']}",
    )
    it.post("q", 8, 9, client=OTHER)
    it.ask("those of others", "GET", MESSAGES)
    it.ask("those of others, two", "GET", f"{MESSAGES}?limit=2")


def delays(it: Walk) -> None:
    it.post("q", "now")
    it.post("q", "later", delay=600)
    it.ask("hidden", "GET", f"{MESSAGES}?echo=true")
    it.ask("shown", "GET", f"{MESSAGES}?echo=true&include_delayed=true")
    it.ask("claimed", "POST", "/v2/queues/q/claims", {"ttl": 60, "grace": 60})
    it.quiet("PUT", "/v2/queues/d", {"_default_message_delay": 300})
    it.post("d", "as the queue says")
    it.post("d", "at once", delay=0)
    it.ask("hidden by the queue", "GET", "/v2/queues/d/messages?echo=true")
    it.ask("hidden from claims", "POST", "/v2/queues/d/claims", {"ttl": 60, "grace": 60})
    it.ask("shown in spite", "GET", "/v2/queues/d/messages?echo=true&include_delayed=true")
    it.ask("counted", "GET", "/v2/queues/d/stats")


def by_ids(it: Walk) -> None:
    it.ask("of a missing queue", "GET", f"{MESSAGES}/{NOWHERE}")
    ids = it.post("q", *range(25))
    it.ask("one", "GET", f"{MESSAGES}/{ids[3]}")
    it.ask("in capitals", "GET", f"{MESSAGES}/{ids[3].upper()}")
    it.ask("nowhere", "GET", f"{MESSAGES}/{NOWHERE}")
    it.ask("no id", "GET", f"{MESSAGES}/x")
    it.ask("in another queue", "GET", f"/v2/queues/other/messages/{ids[3]}")
    it.quiet("PUT", "/v2/queues/theirs", project="abroad")
    it.ask("abroad", "GET", f"/v2/queues/theirs/messages/{ids[3]}", project="abroad")
    for label, asked in (
        ("two", ids[:2]),
        ("backwards", [ids[2], ids[1]]),
        ("twice", [ids[0], ids[0]]),
        ("twenty", ids[:20]),
        ("twenty-one", ids[:21]),
        ("nothing there", [NOWHERE]),
        ("some there", [ids[1], NOWHERE]),
        ("no ids", ["x"]),
        ("blank", []),
        ("commas", ["", ids[0], ""]),
    ):
        it.ask(f"many: {label}", "GET", f"{MESSAGES}?ids={','.join(asked)}")
    it.ask("ids twice", "GET", f"{MESSAGES}?ids={ids[0]}&ids={ids[1]}")
    it.ask("ids and a limit", "GET", f"{MESSAGES}?ids={ids[0]},{ids[1]}&limit=1")
    _, held = it.claim("q", 1)
    it.ask("a claimed one", "GET", f"{MESSAGES}/{held[0]}")
    it.ask("a claimed one among many", "GET", f"{MESSAGES}?ids={held[0]},{ids[1]}")


def deletions(it: Walk) -> None:
    it.ask("of a missing queue", "DELETE", f"{MESSAGES}/{NOWHERE}")
    ids = it.post("q", *range(25))
    it.ask("one", "DELETE", f"{MESSAGES}/{ids[0]}")
    it.ask("again", "DELETE", f"{MESSAGES}/{ids[0]}")
    it.ask("it is gone", "GET", f"{MESSAGES}/{ids[0]}")
    it.ask("nowhere", "DELETE", f"{MESSAGES}/{NOWHERE}")
    it.ask("no id", "DELETE", f"{MESSAGES}/x")
    it.quiet("PUT", "/v2/queues/theirs", project="abroad")
    it.ask("abroad", "DELETE", f"/v2/queues/theirs/messages/{ids[1]}", project="abroad")
    it.ask("it is still there", "GET", f"{MESSAGES}/{ids[1]}")
    it.ask("through another queue", "DELETE", f"/v2/queues/other/messages/{ids[2]}")
    it.ask("and that too", "GET", f"{MESSAGES}/{ids[2]}")
    it.ask("many", "DELETE", f"{MESSAGES}?ids={ids[3]},{ids[4]}")
    it.ask("many again", "DELETE", f"{MESSAGES}?ids={ids[3]},{ids[4]}")
    it.ask("some there", "DELETE", f"{MESSAGES}?ids={ids[4]},{ids[5]},{NOWHERE}")
    it.ask("no ids", "DELETE", f"{MESSAGES}?ids=x")
    it.ask("blank", "DELETE", f"{MESSAGES}?ids=")
    it.ask("neither", "DELETE", MESSAGES)
    it.ask("both", "DELETE", f"{MESSAGES}?ids={ids[6]}&pop=1")
    it.ask("twenty-one", "DELETE", f"{MESSAGES}?ids={','.join([NOWHERE] * 21)}")
    it.ask("with claims", "DELETE", f"{MESSAGES}?ids={ids[6]}&claim_ids={NOWHERE}")
    it.ask("what is left", "GET", f"{MESSAGES}?echo=true&limit=2")


def pops(it: Walk) -> None:
    it.ask("a missing queue", "DELETE", f"{MESSAGES}?pop=1")
    it.quiet("PUT", "/v2/queues/q")
    it.ask("an empty queue", "DELETE", f"{MESSAGES}?pop=1")
    it.post("q", *range(6))
    for value in ("0", "-1", "21", "x", "", "1.5"):
        it.ask(f"pop={value}", "DELETE", f"{MESSAGES}?pop={value}")
    it.ask("one", "DELETE", f"{MESSAGES}?pop=1")
    it.ask("two", "DELETE", f"{MESSAGES}?pop=2")
    it.claim("q", 1)
    it.ask("not what is claimed", "DELETE", f"{MESSAGES}?pop=20")
    it.ask("counted after", "GET", "/v2/queues/q/stats")
    it.post("q", "own", client=CLIENT)
    it.ask("one's own", "DELETE", f"{MESSAGES}?pop=1")


SCENARIOS: list[Scenario] = [
    posts,
    kept_as_they_came,
    pages,
    pages_with_claims,
    delays,
    by_ids,
    deletions,
    pops,
]
