# SPDX-License-Identifier: Apache-2.0
"""What every request is checked for, and the documents beside the queues."""

from compat.zaqar.walk import Scenario, Walk

QUEUES = "/v2/queues"


def documents(it: Walk) -> None:
    it.ask("versions", "GET", "/" if not it.peer.prefix else "")
    it.ask("home", "GET", "/v2")
    it.ask("home with a slash", "GET", "/v2/")
    it.ask("ping", "GET", "/v2/ping")
    it.ask("ping without a body", "HEAD", "/v2/ping")
    it.ask("ping without a client", "GET", "/v2/ping", client=None)


def places(it: Walk) -> None:
    it.ask("no such path", "GET", "/v2/nothing")
    it.ask("no such version", "GET", "/v3/queues")
    it.ask("version 1", "GET", "/v1/queues")
    it.ask("version 1.1", "GET", "/v1.1/queues")
    it.ask("below a message", "GET", f"{QUEUES}/q/messages/x/y")
    it.ask("below a queue", "GET", f"{QUEUES}/q/nothing")
    it.ask("a slash at the end", "GET", f"{QUEUES}/")
    it.ask("post to queues", "POST", QUEUES, {})
    it.ask("put messages", "PUT", f"{QUEUES}/q/messages", {})
    it.ask("put a claim", "PUT", f"{QUEUES}/q/claims/x", {})
    it.ask("get claims", "GET", f"{QUEUES}/q/claims")
    it.ask("patch a message", "PATCH", f"{QUEUES}/q/messages/x", {})
    it.ask("delete stats", "DELETE", f"{QUEUES}/q/stats")
    it.ask("get purge", "GET", f"{QUEUES}/q/purge")
    it.ask("trace", "TRACE", QUEUES)
    it.ask("options", "OPTIONS", QUEUES)
    it.ask("head queues", "HEAD", QUEUES)
    it.ask("topics", "GET", "/v2/topics")


CALLS = (
    ("list queues", "GET", QUEUES, None),
    ("put a queue", "PUT", f"{QUEUES}/q", None),
    ("show a queue", "GET", f"{QUEUES}/q", None),
    ("stats", "GET", f"{QUEUES}/q/stats", None),
    ("purge", "POST", f"{QUEUES}/q/purge", None),
    ("list messages", "GET", f"{QUEUES}/q/messages", None),
    ("post", "POST", f"{QUEUES}/q/messages", {"messages": [{"body": 1}]}),
    ("claim", "POST", f"{QUEUES}/q/claims", {}),
    ("delete a queue", "DELETE", f"{QUEUES}/q", None),
)


def clients(it: Walk) -> None:
    for name, method, path, body in CALLS:
        it.ask(f"{name} without a client", method, path, body, client=None)
        it.ask(f"{name} as no uuid", method, path, body, client="me")
    plain = "3381af922b9e11e3b19171861300734c"
    it.ask("without dashes", "GET", QUEUES, client=plain)
    it.ask("in capitals", "GET", QUEUES, client=plain.upper())
    it.ask("in braces", "GET", QUEUES, client=f"{{{plain}}}")
    it.ask("one digit too few", "GET", QUEUES, client=plain[1:])
    it.ask("spaces around", "GET", QUEUES, client=f" {plain} ")


def types(it: Walk) -> None:
    post, body = f"{QUEUES}/q/messages", {"messages": [{"body": 1}]}
    for name, value in (
        ("any", "*/*"),
        ("json", "application/json"),
        ("json among others", "text/html, application/json;q=0.9"),
        ("html", "text/html"),
        ("application", "application/*"),
        ("nothing", ""),
        ("json refused", "application/json;q=0"),
    ):
        it.ask(f"accept {name}", "GET", QUEUES, headers={"Accept": value})
        it.ask(f"post, accept {name}", "POST", post, body, headers={"Accept": value})
    for name, value in (
        ("json", "application/json"),
        ("json in utf-8", "application/json; charset=utf-8"),
        ("a form", "application/x-www-form-urlencoded"),
        ("text", "text/plain"),
        ("none", ""),
    ):
        it.ask(f"post as {name}", "POST", post, body, headers={"Content-Type": value})
        it.ask(
            f"claim as {name}", "POST", f"{QUEUES}/q/claims", {}, headers={"Content-Type": value}
        )
    it.ask(
        "a form without a body",
        "GET",
        QUEUES,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )


def bodies(it: Walk) -> None:
    """Of every call that takes one."""
    raws = (
        ("nothing", b""),
        ("a space", b" "),
        ("half an object", b"{"),
        ("no text", b"\xff\xfe"),
        ("a number", b"1"),
        ("null", b"null"),
        ("a text", b'"x"'),
        ("a list", b"[]"),
        ("an object", b"{}"),
        ("an object and more", b"{} {}"),
        ("NaN", b'{"a": NaN}'),
        ("a key twice", b'{"a": 1, "a": 2}'),
    )
    for name, raw in raws:
        it.ask(f"put a queue: {name}", "PUT", f"{QUEUES}/{name.replace(' ', '-')}", raw=raw)
        it.ask(f"post: {name}", "POST", f"{QUEUES}/q/messages", raw=raw)
        it.ask(f"claim: {name}", "POST", f"{QUEUES}/nobody/claims", raw=raw)
        it.ask(f"purge: {name}", "POST", f"{QUEUES}/q/purge", raw=raw)
    it.ask(
        "in chunks",
        "POST",
        f"{QUEUES}/chunks/messages",
        raw=iter([b'{"messages": ', b'[{"body": 1}]}']),
    )


def names(it: Walk) -> None:
    for label, name in (
        ("one letter", "a"),
        ("digits", "0123"),
        ("all that is allowed", "Az_09-.z"),
        ("a dot", "."),
        ("64 letters", "n" * 64),
        ("65 letters", "n" * 65),
        ("a space", "a%20b"),
        ("a line break", "a%0A"),
        ("a colon", "a:b"),
        ("umlauts", "%C3%BC"),
        ("no utf-8", "%FF"),
        ("a slash", "a%2Fb"),
        ("a percent sign", "a%25b"),
        ("a null", "a%00"),
        ("a tilde", "~a"),
    ):
        one = f"{QUEUES}/{name}"
        it.ask(f"put {label}", "PUT", one)
        it.ask(f"get {label}", "GET", one)
        it.ask(f"post to {label}", "POST", f"{one}/messages", {"messages": [{"body": 1}]})
        it.ask(f"delete {label}", "DELETE", one)


SCENARIOS: list[Scenario] = [documents, places, clients, types, bodies, names]
