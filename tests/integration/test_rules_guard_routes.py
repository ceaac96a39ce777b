# SPDX-License-Identifier: Apache-2.0
"""Every route is guarded by the rule that says so, or is open on purpose; no rule is idle.

Each handler is called with what it takes, under rules that deny everything and note what was asked.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from transom.errors import Forbidden, TransomError
from transom.identity import service as identity
from transom.identity.app.tokens import Caller, Tokens
from transom.identity.config import IdentityConfig
from transom.identity.contract import DEFAULT_RULES as IDENTITY_RULES
from transom.identity.model import DEFAULT_DOMAIN, Claims, Token, User
from transom.keys import service as keys
from transom.keys.config import KeysConfig
from transom.keys.contract import DEFAULT_RULES as KEYS_RULES
from transom.queue import service as queue
from transom.queue.config import QueueConfig
from transom.queue.contract import DEFAULT_RULES as QUEUE_RULES
from transom.runtime.auth.context import Context
from transom.runtime.auth.declared import defaults
from transom.runtime.auth.policy_file import PolicyFile
from transom.runtime.auth.rules import Rules, compiled, referred
from transom.runtime.clock import SystemClock
from transom.runtime.db.sqlite import SqliteDatabase
from transom.runtime.http.route import Call
from transom.runtime.sealing import sealer_of
from transom.runtime.secrets import Secret

NOWHERE = SqliteDatabase(Path("nowhere"), [], clock=SystemClock())
CONTEXT = Context("r", user_id="u", project_id="p", roles=frozenset(["admin"]))
CLAIMS = Claims("u", None, (), "a", "a", 0, 0, 0, 0)
TOKEN = Token(CLAIMS, User("u", "u", "default"), DEFAULT_DOMAIN)
QUERIES = ({}, {"ids": "x"}, {"pop": "1"}, {"allow_expired": "1"})
HEADERS = {"client-id": "3381af92-2b9e-11e3-b191-71861300734c", "x-subject-token": "another's"}
OPEN = {
    "GET /queue", "GET /queue/v2", "GET /queue/v2/ping",
    "GET /identity", "GET /identity/v3",
    "POST /identity/v3/auth/tokens",  # by what one knows
    "POST /identity/v3/users/{user}/password",  # by the present password
    "GET /keys", "GET /keys/v1", "GET /keys/v1/ca", "GET /keys/v1/certificates",
    "POST /keys/v1/tickets", "POST /keys/v1/groups",  # by the party's signature
    "PUT /keys/v1/certificates/{name}",  # likewise
}  # fmt: skip
OWN = {"GET /identity/v3/auth/catalog"}
"""Need a token and no rule: they show what everybody is shown."""


class Noting(Rules):
    """Denies everything and notes what was asked for, with which attributes of the target."""

    def __init__(self, texts: Any) -> None:
        super().__init__(texts)
        self.asked: list[tuple[str, frozenset[str]]] = []

    def enforce(self, name: str, context: Context, target: Any = ()) -> None:
        self.asked.append((name, frozenset(target)))
        raise Forbidden


async def caller(tokens: Tokens, text: str, request_id: str) -> Caller:
    return Caller(CONTEXT, TOKEN, text)


async def valid(tokens: Tokens, text: str, **more: Any) -> Token:
    return TOKEN


def noting(part: str, declared: Any) -> PolicyFile:
    policy = PolicyFile(part, None, declared)
    policy.rules = Noting(defaults(declared))
    return policy


def example(kind: Any) -> Any:
    """The least JSON that the type takes."""
    return _example(msgspec.inspect.type_info(kind))


def _example(info: Any) -> Any:
    kind = type(info).__name__
    if kind == "Metadata":
        schema = info.extra_json_schema or {}
        if "enum" in schema:
            return schema["enum"][-1]
        is_text = type(info.type).__name__ == "StrType"
        return "/metadata/x" if "pattern" in schema and is_text else _example(info.type)
    if kind in ("StructType", "TypedDictType"):
        return {at.encode_name: _example(at.type) for at in info.fields if at.required}
    if kind == "UnionType":
        return _example(next(at for at in info.types if type(at).__name__ != "NoneType"))
    if kind in ("ListType", "CollectionType", "VarTupleType"):
        return [_example(info.item_type)] * max(1, info.min_length or 0)
    if kind == "LiteralType":
        return info.values[0]
    known = {
        "StrType": "x",
        "BytesType": "x" * 43 + "=",
        "IntType": 60,
        "BoolType": True,
        "DictType": {},
    }
    return known.get(kind, {})


async def asked_by(mount: Any, rules: Noting) -> dict[str, set[tuple[str, frozenset[str]]]]:
    """Route -> what it asked for, over all queries that matter."""
    found = {}
    for route in mount.routes:
        rules.asked.clear()
        fields = {word[1:-1]: "x" for word in route.path.split("/") if word.startswith("{")}
        body = None
        if route.body is not None and route.body is not bytes:
            body = msgspec.json.decode(msgspec.json.encode(example(route.body)), type=route.body)
        for query in QUERIES:
            with suppress(TransomError):
                await route.handler(
                    Call(CONTEXT, route.path, fields, query, {**HEADERS, "x-auth-token": "t"}, body)
                )
        found[f"{route.method} {mount.prefix}{route.path}"] = set(rules.asked)
    return found


@pytest.fixture(params=["queue", "identity", "keys"])
async def part(request, monkeypatch):
    """(its prefix, its declared rules, what each of its routes asks for)"""
    more = {"clock": SystemClock(), "random": os.urandom}
    if request.param == "queue":
        policy = noting("queue", QUEUE_RULES)
        built = queue.build(QueueConfig(), NOWHERE, policy=policy, **more)
        return "/queue", QUEUE_RULES, await asked_by(built.mount, policy.rules)
    if request.param == "keys":
        policy = noting("keys", KEYS_RULES)
        sealer = sealer_of(Path("nowhere"), Secret(""), os.urandom)
        built = keys.build(KeysConfig(), NOWHERE, policy=policy, sealer=sealer, **more)
        return "/keys", KEYS_RULES, await asked_by(built.mount, policy.rules)
    monkeypatch.setattr(Tokens, "caller", caller)
    monkeypatch.setattr(Tokens, "valid", valid)
    policy = noting("identity", IDENTITY_RULES)
    built = identity.build(
        IdentityConfig(), NOWHERE, data=Path("nowhere"), public_url="http://127.0.0.1:1",
        catalogue=[], policy=policy, **more,
    )  # fmt: skip
    return "/identity", IDENTITY_RULES, await asked_by(built.mount, policy.rules)


def test_every_route_asks_for_the_rule_that_names_it_or_is_open_on_purpose(part):
    prefix, declared, asked = part
    by_name = {rule.name: rule for rule in declared}
    for operation, found in asked.items():
        if not found:
            assert operation in OPEN | OWN, f"{operation} asks for no rule"
            continue
        assert operation not in OPEN | OWN
        for name, target in found:
            assert name in by_name, f"{operation} asks for {name!r}, which is not declared"
            rule = by_name[name]
            method, _, path = operation.partition(" ")
            says = f"{method} {path.removeprefix(prefix)}"
            assert says in rule.operations, f"{name} does not say that it guards {says}"
            assert target == frozenset(rule.targets), f"{operation} tells {name} of {set(target)}"


def test_no_declared_rule_is_without_use(part):
    prefix, declared, asked = part
    rules = compiled(defaults(declared)).expressions
    used = {name for found in asked.values() for name, _ in found}
    referred_to = set().union(*(referred(rules[rule.name], rules) for rule in declared))
    for rule in declared:
        assert rule.name in (used if rule.operations else referred_to), f"{rule.name} is idle"
        for operation in rule.operations:
            method, _, path = operation.partition(" ")
            names = {name for name, _ in asked[f"{method} {prefix}{path}"]}
            assert rule.name in names, f"{operation} does not ask for {rule.name}"
