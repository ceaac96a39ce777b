# SPDX-License-Identifier: Apache-2.0
"""Queues: their metadata, reserved attributes, patches, pages, counts, purging."""

from typing import Any

from compat.zaqar.walk import Scenario, Walk

QUEUES = "/v2/queues"
PATCH = {"Content-Type": "application/openstack-messaging-v2.0-json-patch"}

ATTRIBUTES: tuple[tuple[str, Any], ...] = (
    ("_max_messages_post_size", (1, 262_144, 262_145, 0, -1, "1", 1.5, True, None)),
    ("_default_message_ttl", (60, 59, 1_209_600, 1_209_601, "60", None)),
    ("_default_message_delay", (0, 900, 901, -1, "0", None)),
    ("_dead_letter_queue", ("dead", "a.b", "", "no name", 1, None)),
    ("_dead_letter_queue_messages_ttl", (60, 59, 1_209_600, 1_209_601, "x", None)),
    ("_max_claim_count", (1, 0, -1, 1000, "2", None)),
    ("_enable_encrypt_messages", (True, False, "true", 1, None)),
    ("_flavor", ("nowhere", 1, None)),
    (
        "_retry_policy",
        (
            {},
            {"retries_with_no_delay": 1},
            {"minimum_delay": 25, "maximum_delay": 30},
            {"unknown": 1},
            [],
            "x",
        ),
    ),
    ("_unknown", (1,)),
)


def life(it: Walk) -> None:
    one = f"{QUEUES}/q"
    it.ask("show before", "GET", one)
    it.ask("exists before", "HEAD", one)
    it.ask("make", "PUT", one, {"a": 1, "b": {"c": [1, None]}})
    it.ask("make again", "PUT", one, {"a": 2})
    it.ask("show", "GET", one)
    it.ask("exists", "HEAD", one)
    it.ask("of another project", "GET", one, project="abroad")
    it.ask("delete abroad", "DELETE", one, project="abroad")
    it.ask("still there", "GET", one)
    it.ask("delete", "DELETE", one)
    it.ask("delete again", "DELETE", one)
    it.ask("show after", "GET", one)
    it.post("q", "x")
    it.ask("a post makes it", "GET", one)
    it.ask("in a list", "GET", QUEUES)


def attributes(it: Walk) -> None:
    for key, values in ATTRIBUTES:
        for at, value in enumerate(values):
            it.ask(f"{key} {value!r}", "PUT", f"{QUEUES}/{key}-{at}", {key: value})
    for key, value in (
        ("_default_message_ttl", 120),
        ("_default_message_delay", 5),
        ("_max_claim_count", 3),
    ):
        it.quiet("PUT", f"{QUEUES}/with", {key: value})
        it.ask(f"show {key}", "GET", f"{QUEUES}/with")
        it.quiet("DELETE", f"{QUEUES}/with")
    it.ask("too much", "PUT", f"{QUEUES}/much", {"a": "x" * 65_536})
    it.ask("nearly too much", "PUT", f"{QUEUES}/less", {"a": "x" * 65_000})
    it.ask("far too much", "PUT", f"{QUEUES}/most", {"a": "x" * 300_000})
    it.ask("a large number", "PUT", f"{QUEUES}/number", {"a": 2**63})
    it.ask("a small number", "PUT", f"{QUEUES}/number", {"a": -(2**63)})


def ttls_are_used(it: Walk) -> None:
    it.quiet("PUT", f"{QUEUES}/q", {"_default_message_ttl": 120, "_max_messages_post_size": 100})
    path = f"{QUEUES}/q/messages"
    it.ask("default", "POST", path, {"messages": [{"body": 1}]})
    it.ask("own", "POST", path, {"messages": [{"body": 2, "ttl": 77}]})
    it.ask("both", "GET", f"{path}?echo=true")
    it.ask("too large for the queue", "POST", path, {"messages": [{"body": "x" * 100}]})


def patches(it: Walk) -> None:
    one = f"{QUEUES}/q"

    def change(step: str, *changes: Any, raw: bytes | None = None, **headers: str) -> None:
        body = None if raw is not None else list(changes)
        it.ask(step, "PATCH", one, body, raw=raw, headers={**PATCH, **headers})

    def op(name: str, path: str, *value: Any) -> dict[str, Any]:
        return {"op": name, "path": path, **({"value": value[0]} if value else {})}

    change("a missing queue", op("add", "/metadata/a", 1))
    it.quiet("PUT", one, {"a": 1, "b": 2})
    change("add", op("add", "/metadata/c", {"x": 1}))
    change("add over", op("add", "/metadata/a", 5))
    change("replace", op("replace", "/metadata/a", 6))
    change("replace what is not there", op("replace", "/metadata/none", 6))
    change("remove", op("remove", "/metadata/a"))
    change("remove what is not there", op("remove", "/metadata/a"))
    change(
        "several",
        op("add", "/metadata/d", 1),
        op("replace", "/metadata/d", 2),
        op("remove", "/metadata/d"),
    )
    change("one of several fails", op("add", "/metadata/e", 1), op("remove", "/metadata/none"))
    it.ask("then none is made", "GET", one)
    change("escaped", op("add", "/metadata/x~1y~0z", 1))
    change("escaped badly", op("add", "/metadata/x~2", 1))
    change("capitals", op("add", "/Metadata/f", 1))
    change("another root", op("add", "/other/f", 1))
    change("one part", op("add", "/metadata", 1))
    change("three parts", op("add", "/metadata/a/b", 1))
    change("no slash", op("add", "metadata/a", 1))
    change("an empty key", op("add", "/metadata/", 1))
    change("an unknown op", op("move", "/metadata/a", 1))
    change("no op", {"path": "/metadata/a", "value": 1})
    change("no path", {"op": "add", "value": 1})
    change("no value", op("add", "/metadata/g"))
    change("a null value", op("add", "/metadata/n", None))
    change("a path that is no text", {"op": "add", "path": 1, "value": 1})
    change("reserved", op("add", "/metadata/_default_message_ttl", 100))
    change("replace reserved", op("replace", "/metadata/_default_message_ttl", 200))
    change("reserved, too little", op("replace", "/metadata/_default_message_ttl", 5))
    change("replace reserved at its default", op("replace", "/metadata/_max_claim_count", 5))
    change("remove reserved", op("remove", "/metadata/_default_message_ttl"))
    change("remove reserved again", op("remove", "/metadata/_default_message_ttl"))
    change("too much", op("add", "/metadata/much", "x" * 70_000))
    change("nothing", raw=b"")
    change("an empty list")
    change("a list of numbers", 1)
    change("an object", raw=b"{}")
    change("no JSON", raw=b"[")
    for label, kind in (
        ("json", "application/json"),
        ("a patch of old", "application/openstack-messaging-v2.0-json-patch; charset=utf-8"),
        ("the standard's", "application/json-patch+json"),
    ):
        it.ask(
            f"as {label}",
            "PATCH",
            one,
            [op("add", "/metadata/h", 1)],
            headers={"Content-Type": kind},
        )
    it.ask("show", "GET", one)


def pages(it: Walk) -> None:
    it.ask("none", "GET", QUEUES)
    it.ask("none, counted", "GET", f"{QUEUES}?with_count=true")
    for at in range(25):
        it.quiet("PUT", f"{QUEUES}/q{at:02}", {"n": at % 2, "t": "x", "at": str(at)})
    it.quiet("PUT", f"{QUEUES}/other")
    for query in (
        "",
        "limit=1",
        "limit=20",
        "limit=21",
        "limit=0",
        "limit=-1",
        "limit=x",
        "limit=",
        "limit=1.5",
        "marker=q03",
        "marker=q03&limit=2",
        "marker=zz",
        "marker=a",
        "marker=",
        "marker=q",
        "detailed=true&limit=2",
        "detailed=false&limit=1",
        "detailed=x",
        "detailed=1&limit=1",
        "with_count=true&limit=1",
        "with_count=false&limit=1",
        "with_count=x",
        "name=q0&limit=3",
        "name=other",
        "name=none",
        "name=q0&with_count=true&limit=1",
        "n=1&limit=2",
        "n=1&t=x&limit=2",
        "n=5",
        "none=1",
        "t=y",
        "at=3",
        "limit=2&limit=3",
        "t=x&detailed=true&limit=1",
    ):
        it.ask(f"?{query}", "GET", f"{QUEUES}?{query}")
    it.ask("abroad", "GET", QUEUES, project="abroad")
    reply = it.quiet("GET", f"{QUEUES}?limit=20")
    it.ask("the next", "GET", reply.json()["links"][0]["href"])


def counts(it: Walk) -> None:
    stats = f"{QUEUES}/q/stats"
    it.ask("missing", "GET", stats)
    it.quiet("PUT", f"{QUEUES}/q")
    it.ask("empty", "GET", stats)
    it.post("q", 1, 2, 3, 4)
    it.ask("four", "GET", stats)
    claim, ids = it.claim("q", 2)
    it.ask("two claimed", "GET", stats)
    it.quiet("DELETE", f"{QUEUES}/q/messages/{ids[0]}?claim_id={claim}")
    it.ask("one deleted", "GET", stats)
    it.quiet("DELETE", f"{QUEUES}/q/claims/{claim}")
    it.ask("released", "GET", stats)
    it.ask("abroad", "GET", stats, project="abroad")


def purges(it: Walk) -> None:
    purge = f"{QUEUES}/q/purge"
    it.ask("missing", "POST", purge)
    it.post("q", 1, 2, 3)
    it.ask("subscriptions", "POST", purge, {"resource_types": ["subscriptions"]})
    it.ask("messages stay", "GET", f"{QUEUES}/q/stats")
    it.ask("unknown", "POST", purge, {"resource_types": ["claims"]})
    it.ask("one known, one not", "POST", purge, {"resource_types": ["messages", "x"]})
    it.ask("a text", "POST", purge, {"resource_types": "messages"})
    it.ask("an empty list", "POST", purge, {"resource_types": []})
    it.ask("an unknown field", "POST", purge, {"types": ["messages"]})
    it.post("q", 1, 2, 3)
    it.ask("messages", "POST", purge, {"resource_types": ["messages"]})
    it.ask("none are left", "GET", f"{QUEUES}/q/messages?echo=true")
    it.post("q", 1, 2, 3)
    it.claim("q", 1)
    it.ask("all", "POST", purge)
    it.ask("counted after", "GET", f"{QUEUES}/q/stats")


SCENARIOS: list[Scenario] = [life, attributes, ttls_are_used, patches, pages, counts, purges]
