# SPDX-License-Identifier: Apache-2.0
"""Pools and flavors, which a Zaqar has when it is started with pooling.

A pool's address is one that either server can reach; `%URI` stands for it in what is said here.
"""

from compat.zaqar.walk import Scenario, Walk

POOLS, FLAVORS = "/v2/pools", "/v2/flavors"


def pools(it: Walk) -> None:
    uri = it.peer.pool_uri
    it.ask("none", "GET", POOLS)
    it.ask("show missing", "GET", f"{POOLS}/p")
    it.ask("delete missing", "DELETE", f"{POOLS}/p")
    it.ask("patch missing", "PATCH", f"{POOLS}/p", {"weight": 1})
    for label, body in (
        ("nothing", {}),
        ("no uri", {"weight": 1}),
        ("no weight", {"uri": uri}),
        ("a bad uri", {"uri": "nothing", "weight": 1}),
        ("an unknown scheme", {"uri": "ftp://127.0.0.1/", "weight": 1}),
        ("a negative weight", {"uri": uri, "weight": -1}),
        ("a weight of text", {"uri": uri, "weight": "1"}),
        ("options as text", {"uri": uri, "weight": 1, "options": "x"}),
        ("a list", []),
    ):
        it.ask(f"put {label}", "PUT", f"{POOLS}/p", body)
    it.ask("put no body", "PUT", f"{POOLS}/p")
    it.ask("put", "PUT", f"{POOLS}/p", {"uri": uri, "weight": 100, "options": {"a": 1}})
    it.ask("show", "GET", f"{POOLS}/p")
    it.ask("show details", "GET", f"{POOLS}/p?detailed=true")
    it.ask("list", "GET", POOLS)
    for query in (
        "detailed=true",
        "limit=0",
        "limit=21",
        "limit=x",
        "limit=1",
        "marker=p",
        "detailed=x",
    ):
        it.ask(f"list ?{query}", "GET", f"{POOLS}?{query}")
    for label, body in (
        ("weight", {"weight": 50}),
        ("a bad weight", {"weight": -1}),
        ("options", {"options": {"b": 1}}),
        ("bad options", {"options": 1}),
        ("a bad uri", {"uri": "x"}),
        ("nothing", {}),
        ("unknown", {"x": 1}),
    ):
        it.ask(f"patch {label}", "PATCH", f"{POOLS}/p", body)
    it.ask("patched", "GET", f"{POOLS}/p?detailed=true")
    _flavors(it)
    it.ask("delete", "DELETE", f"{POOLS}/p")
    it.ask("it is gone", "GET", f"{POOLS}/p")


def _flavors(it: Walk) -> None:
    it.ask("flavors: none", "GET", FLAVORS)
    it.ask("flavors: missing", "GET", f"{FLAVORS}/f")
    it.ask("flavors: delete missing", "DELETE", f"{FLAVORS}/f")
    it.ask("flavors: patch missing", "PATCH", f"{FLAVORS}/f", {"pool_list": ["p"]})
    for label, body in (
        ("nothing", {}),
        ("no pools", {"pool_list": []}),
        ("an unknown pool", {"pool_list": ["none"]}),
        ("pools as text", {"pool_list": "p"}),
        ("a list", []),
    ):
        it.ask(f"flavors: put {label}", "PUT", f"{FLAVORS}/f", body)
    it.ask("flavors: put no body", "PUT", f"{FLAVORS}/f")
    it.ask("flavors: put", "PUT", f"{FLAVORS}/f", {"pool_list": ["p"]})
    it.ask("flavors: show", "GET", f"{FLAVORS}/f")
    it.ask("flavors: show details", "GET", f"{FLAVORS}/f?detailed=true")
    it.ask("flavors: list", "GET", FLAVORS)
    it.ask("flavors: list limit 0", "GET", f"{FLAVORS}?limit=0")
    it.ask("flavors: list limit 21", "GET", f"{FLAVORS}?limit=21")
    it.ask("flavors: patch", "PATCH", f"{FLAVORS}/f", {"pool_list": ["p"]})
    it.ask("flavors: patch nothing", "PATCH", f"{FLAVORS}/f", {})
    it.ask("flavors: patch an unknown pool", "PATCH", f"{FLAVORS}/f", {"pool_list": ["none"]})
    it.ask("a queue of the flavor", "PUT", "/v2/queues/q", {"_flavor": "f"})
    it.ask("shows it", "GET", "/v2/queues/q")
    it.ask("a queue of none", "PUT", "/v2/queues/n", {"_flavor": "none"})
    it.ask("post", "POST", "/v2/queues/q/messages", {"messages": [{"body": 1, "ttl": 300}]})
    it.ask("list messages", "GET", "/v2/queues/q/messages?echo=true")
    it.quiet("DELETE", "/v2/queues/q")
    it.ask("a pool in use", "DELETE", f"{POOLS}/p")
    it.ask("flavors: delete", "DELETE", f"{FLAVORS}/f")
    it.ask("flavors: gone", "GET", f"{FLAVORS}/f")


SCENARIOS: list[Scenario] = [pools]
