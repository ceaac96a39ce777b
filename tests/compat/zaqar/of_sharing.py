# SPDX-License-Identifier: Apache-2.0
"""Pre-signed URLs, subscriptions, and health."""

from compat.zaqar.walk import Reply, Scenario, Walk

SHARE = "/v2/queues/q/share"
SUBSCRIPTIONS = "/v2/queues/q/subscriptions"
NOWHERE = "1e1e1e1e-1e1e-4e1e-8e1e-1e1e1e1e1e1e"
HOOK = "http://127.0.0.1:9/hook"


def shares(it: Walk) -> None:
    it.ask("a missing queue", "POST", "/v2/queues/none/share", {})
    it.quiet("PUT", "/v2/queues/q")
    it.ask("no body", "POST", SHARE)
    for label, body in (
        ("defaults", {}),
        ("methods", {"methods": ["POST", "GET"]}),
        ("a method that is none", {"methods": ["FLY"]}),
        ("no methods", {"methods": []}),
        ("methods as text", {"methods": "GET"}),
        ("a method in small letters", {"methods": ["get"]}),
        ("head and options", {"methods": ["HEAD", "OPTIONS"]}),
        ("paths", {"paths": ["messages", "claims"]}),
        ("subscriptions", {"paths": ["subscriptions"]}),
        ("a path that is none", {"paths": ["stats"]}),
        ("no paths", {"paths": []}),
        ("a whole path", {"paths": ["/v2/queues/q/messages"]}),
        ("expires", {"expires": "2999-01-01T00:00:00Z"}),
        ("expires without a zone", {"expires": "2999-01-01T00:00:00"}),
        ("expires with an offset", {"expires": "2999-01-01T00:00:00+02:00"}),
        ("a date", {"expires": "2999-01-01"}),
        ("expired", {"expires": "2001-01-01T00:00:00"}),
        ("expires as a number", {"expires": 100}),
        ("expires as words", {"expires": "tomorrow"}),
        ("unknown", {"project": "x"}),
        ("a list", []),
    ):
        it.ask(label, "POST", SHARE, body)
    it.ask("get", "GET", SHARE)


def signed(reply: Reply) -> dict[str, str]:
    """The headers of a request that uses what was shared."""
    told = reply.json()
    return {
        "URL-Signature": told["signature"],
        "URL-Methods": ",".join(told["methods"]),
        "URL-Paths": ",".join(told["paths"]),
        "URL-Expires": told["expires"],
        "X-Project-Id": told["project"],
        "X-Auth-Token": "",
        "X-Roles": "",
    }


def uses_what_is_shared(it: Walk) -> None:
    ids = it.post("q", 1, 2, 3)
    claim, held = it.claim("q", 1)
    both = signed(
        it.quiet(
            "POST", SHARE, {"methods": ["GET", "POST", "DELETE"], "paths": ["messages", "claims"]}
        )
    )
    reads = signed(it.quiet("POST", SHARE, {}))
    messages, claims = "/v2/queues/q/messages", "/v2/queues/q/claims"
    post = {"messages": [{"body": 4, "ttl": 300}]}
    for label, headers in (("read", reads), ("all", both)):
        it.ask(f"{label}: list", "GET", f"{messages}?echo=true&limit=1", headers=headers)
        it.ask(f"{label}: one", "GET", f"{messages}/{ids[1]}", headers=headers)
        it.ask(f"{label}: post", "POST", messages, post, headers=headers)
        it.ask(f"{label}: claim", "GET", f"{claims}/{claim}", headers=headers)
        it.ask(
            f"{label}: delete", "DELETE", f"{messages}/{held[0]}?claim_id={claim}", headers=headers
        )
        it.ask(f"{label}: stats", "GET", "/v2/queues/q/stats", headers=headers)
        it.ask(f"{label}: queues", "GET", "/v2/queues", headers=headers)
        it.ask(f"{label}: the queue", "GET", "/v2/queues/q", headers=headers)
        it.ask(f"{label}: another queue", "GET", "/v2/queues/other/messages", headers=headers)
        it.ask(f"{label}: to share", "POST", SHARE, {}, headers=headers)
    for label, change in (
        ("no signature's worth", {"URL-Signature": "0" * 64}),
        ("another method", {"URL-Methods": "GET,POST"}),
        ("another path", {"URL-Paths": "/v2/queues/other/messages"}),
        ("another time", {"URL-Expires": "2999-01-01T00:00:00"}),
        ("no time", {"URL-Expires": ""}),
        ("no methods", {"URL-Methods": ""}),
        ("no paths", {"URL-Paths": ""}),
        ("another project", {"X-Project-Id": "another"}),
        ("no project", {"X-Project-Id": ""}),
    ):
        it.ask(f"changed: {label}", "GET", f"{messages}?echo=true", headers={**reads, **change})
    it.ask("without a client", "GET", messages, headers=reads, client=None)


def subscribes(it: Walk) -> None:
    it.ask("list, a missing queue", "GET", "/v2/queues/none/subscriptions")
    it.quiet("PUT", "/v2/queues/q")
    it.ask("none", "GET", SUBSCRIPTIONS)
    for label, body in (
        ("nothing", {}),
        ("no url", {"subscriber": "x"}),
        ("ftp", {"subscriber": "ftp://127.0.0.1/x"}),
        ("a number", {"subscriber": 1}),
        ("short", {"subscriber": HOOK, "ttl": 59}),
        ("ttl as text", {"subscriber": HOOK, "ttl": "60"}),
        ("ttl true", {"subscriber": HOOK, "ttl": True}),
        ("options as list", {"subscriber": HOOK, "ttl": 60, "options": []}),
        ("a list", []),
        (
            "a bad policy",
            {"subscriber": HOOK, "options": {"_retry_policy": {"retries_with_no_delay": "x"}}},
        ),
        ("an unknown policy", {"subscriber": HOOK, "options": {"_retry_policy": {"x": 1}}}),
    ):
        it.ask(f"post {label}", "POST", "/v2/queues/other/subscriptions", body)
    it.ask("post no body", "POST", SUBSCRIPTIONS)
    made = it.ask(
        "post", "POST", SUBSCRIPTIONS, {"subscriber": HOOK, "ttl": 300, "options": {"a": 1}}
    )
    it.ask("list ?limit=1", "GET", f"{SUBSCRIPTIONS}?limit=1")
    it.ask("post defaults", "POST", SUBSCRIPTIONS, {"subscriber": HOOK + "2"})
    it.ask("post https", "POST", SUBSCRIPTIONS, {"subscriber": "https://127.0.0.1:9/", "ttl": 60})
    it.ask("post mailto", "POST", SUBSCRIPTIONS, {"subscriber": "mailto:a@example.org", "ttl": 60})
    it.ask("post again", "POST", SUBSCRIPTIONS, {"subscriber": HOOK, "ttl": 400})
    one = f"{SUBSCRIPTIONS}/{made.json()['subscription_id'] if made.status == 201 else NOWHERE}"
    it.ask("show", "GET", one)
    it.ask("show abroad", "GET", one, project="abroad")
    it.ask("nowhere", "GET", f"{SUBSCRIPTIONS}/{NOWHERE}")
    it.ask("no id", "GET", f"{SUBSCRIPTIONS}/x")
    it.ask("list", "GET", SUBSCRIPTIONS)
    for query in ("limit=0", "limit=21", "limit=x", "marker=x", f"marker={NOWHERE}"):
        it.ask(f"list ?{query}", "GET", f"{SUBSCRIPTIONS}?{query}")
    it.ask("list abroad", "GET", SUBSCRIPTIONS, project="abroad")
    _changes(it, one)
    _confirms(it, one)
    it.ask("delete abroad", "DELETE", one, project="abroad")
    it.ask("delete", "DELETE", one)
    it.ask("delete again", "DELETE", one)
    it.ask("delete no id", "DELETE", f"{SUBSCRIPTIONS}/x")
    it.ask("it is gone", "GET", one)
    it.ask("purge", "POST", "/v2/queues/q/purge", {"resource_types": ["subscriptions"]})
    it.ask("none are left", "GET", SUBSCRIPTIONS)


def _changes(it: Walk, one: str) -> None:
    for label, body in (
        ("ttl", {"ttl": 500}),
        ("options", {"options": {"b": 2}}),
        ("subscriber", {"subscriber": HOOK + "3"}),
        ("to one that is there", {"subscriber": HOOK + "2"}),
        ("a short ttl", {"ttl": 5}),
        ("a bad subscriber", {"subscriber": "x"}),
        ("options as text", {"options": "x"}),
        ("nothing", {}),
        ("unknown", {"x": 1}),
        ("a list", []),
    ):
        it.ask(f"patch {label}", "PATCH", one, body)
    it.ask("patch no body", "PATCH", one)
    it.ask("patch nowhere", "PATCH", f"{SUBSCRIPTIONS}/{NOWHERE}", {"ttl": 500})
    it.ask("patch abroad", "PATCH", one, {"ttl": 500}, project="abroad")
    it.ask("patched", "GET", one)


def _confirms(it: Walk, one: str) -> None:
    for label, body in (
        ("true", {"confirmed": True}),
        ("false", {"confirmed": False}),
        ("as text", {"confirmed": "true"}),
        ("nothing", {}),
        ("again", {"confirmed": True}),
    ):
        it.ask(f"confirm {label}", "PUT", f"{one}/confirm", body)
    it.ask("confirm no body", "PUT", f"{one}/confirm")
    it.ask("confirm nowhere", "PUT", f"{SUBSCRIPTIONS}/{NOWHERE}/confirm", {"confirmed": True})
    it.ask("confirmed", "GET", one)


def health(it: Walk) -> None:
    it.ask("health", "GET", "/v2/health")
    it.ask("health without a client", "GET", "/v2/health", client=None)


SCENARIOS: list[Scenario] = [shares, uses_what_is_shared, subscribes, health]
