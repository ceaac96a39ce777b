# SPDX-License-Identifier: Apache-2.0
"""The tenant matrix: every route of every mount, asked by every kind of tenant.

What is asked follows from the routes; `ROWS` adds what a route cannot say of itself: a body that it
takes, queries that name things, what it answers if all is well. A route that cannot be asked with
what is known here is a fault.
"""

import os
import re
import uuid
from base64 import b64encode
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from transom.errors import Forbidden
from transom.identity.api.mount import PREFIX as IDENTITY
from transom.identity.contract import DEFAULT_RULES as IDENTITY_RULES
from transom.identity.logic.guessing import USER_WAIT_MOST_S
from transom.keys.api.mount import PREFIX as KEYS
from transom.keys.contract import DEFAULT_RULES as KEYS_RULES
from transom.messaging.security import tickets
from transom.messaging.security.tickets import Purpose, Request
from transom.queue.api.mount import PREFIX as QUEUE
from transom.queue.api.wire.queues import PATCH_TYPE
from transom.queue.contract import DEFAULT_RULES as QUEUE_RULES
from transom.runtime.auth.declared import AccessRule, defaults
from transom.runtime.auth.rules import Rules
from transom.runtime.http.openapi import secured
from transom.runtime.http.route import Mount, Route

from support.http import Reply
from support.openapi import Described
from support.tenants import MARK, PASSWORD, Tenant, World, seen

Fields = Mapping[str, str]
RULES: Mapping[str, Sequence[AccessRule]] = {
    IDENTITY: IDENTITY_RULES, QUEUE: QUEUE_RULES, KEYS: KEYS_RULES,
}  # fmt: skip
OWNER = "own-admin"


@dataclass(frozen=True)
class Row:
    """How a route is asked beside its path. `{name}` in texts stands for one of the things.

    `things`: names of fields that are called something else here. `refused`: what it answers those
    whom its rule admits, if that is no success; `no_project`: those whose token is for none;
    `unscoped`: those whose token is for neither a project nor a domain nor the system.
    `open`: it needs a token, any will do. `of_self`: the user that its rule looks at is the caller.
    """

    body: Any = None
    queries: Sequence[str] = ("",)
    headers: Mapping[str, str] = field(default_factory=dict)
    things: Mapping[str, str] = field(default_factory=dict)
    refused: int = 0
    no_project: int = 0
    unscoped: int = 0
    open: bool = False
    of_self: bool = False


SUBJECT = {"x-subject-token": "{subject}"}
_CREDENTIAL = {"application_credential": {"name": "new-{name}"}}
_PUBLIC = b"p" * 32
_PARTY = "api.host1"


def _unsigned(purpose: Purpose) -> dict[str, str]:
    """A request that a key of nobody's has signed."""
    nonce = b"n" * tickets.NONCE_BYTES
    request = Request(purpose, _PARTY, "x.y", 0, 1_700_000_000_000, nonce, _PUBLIC, _PUBLIC)
    return {"request": b64encode(tickets.make_request(request, _PUBLIC)).decode()}


_NO_POOL = {"pool": "name", "flavor": "name"}
"""Pools are of no project, and there are none."""
_PROOF = {"name": "{name}", "password": "wrong", "domain": {"id": "default"}}
ROWS: Mapping[str, Row | tuple[Row, ...]] = {
    "GET /queue/v2/queues": Row(queries=("", "?detailed=true&with_count=true", "?name={queue}")),
    "PUT /queue/v2/queues/{queue}": Row({"colour": "red"}),
    "PATCH /queue/v2/queues/{queue}": Row(
        [{"op": "add", "path": "/metadata/colour", "value": "red"}],
        headers={"content-type": PATCH_TYPE},
    ),
    "POST /queue/v2/queues/{queue}/purge": Row({"resource_types": ["messages"]}),
    "POST /queue/v2/queues/{queue}/messages": Row({"messages": [{"body": 1, "ttl": 60}]}),
    "GET /queue/v2/queues/{queue}/messages": Row(
        queries=("", "?ids={message},{held}", "?include_claimed=true&echo=true")
    ),
    "DELETE /queue/v2/queues/{queue}/messages": Row(
        queries=("?ids={message}", "?ids={held}&claim_ids={claim}", "?pop=1")
    ),
    "DELETE /queue/v2/queues/{queue}/messages/{message}": (
        Row(),
        Row(queries=("?claim_id={claim}",), things={"message": "held"}),
    ),
    "POST /queue/v2/queues/{queue}/claims": Row({"ttl": 60, "grace": 60}),
    "PATCH /queue/v2/queues/{queue}/claims/{claim}": Row({"ttl": 60, "grace": 60}),
    "POST /queue/v2/queues/{queue}/claims/{claim}/touch": Row({"ids": ["{held}"], "ttl": 60}),
    "POST /queue/v2/queues/{queue}/claims/{claim}/release": Row({"ids": ["{held}"]}),
    "POST /queue/v2/queues/{queue}/claims/{claim}/reject": Row({"reason": "x"}),
    "POST /queue/v2/queues/{queue}/redrive": Row({"limit": 5, "to": "new-{name}"}),
    "POST /queue/v2/queues/{queue}/share": Row({"methods": ["GET"], "paths": ["messages"]}),
    "GET /queue/v2/pools/{pool}": Row(things=_NO_POOL, refused=404),
    "PUT /queue/v2/pools/{pool}": Row(
        {"uri": "mongodb://127.0.0.1", "weight": 1}, things=_NO_POOL, refused=400
    ),
    "PATCH /queue/v2/pools/{pool}": Row({"weight": 1}, things=_NO_POOL, refused=404),
    "DELETE /queue/v2/pools/{pool}": Row(things=_NO_POOL),
    "GET /queue/v2/flavors/{flavor}": Row(things=_NO_POOL, refused=404),
    "PUT /queue/v2/flavors/{flavor}": Row({"pool_list": ["none"]}, things=_NO_POOL, refused=400),
    "PATCH /queue/v2/flavors/{flavor}": Row({"pool_list": ["none"]}, things=_NO_POOL, refused=404),
    "DELETE /queue/v2/flavors/{flavor}": Row(things=_NO_POOL),
    "POST /queue/v2/claims": Row({"queues": ["{queue}"], "ttl": 60, "grace": 60}),
    "PATCH /queue/v2/claims/{claim}": Row({"ttl": 60, "grace": 60}),
    "POST /queue/v2/queues/{queue}/subscriptions": Row({"subscriber": "https://other.example/"}),
    "PATCH /queue/v2/queues/{queue}/subscriptions/{subscription}": Row({"ttl": 600}),
    "PUT /queue/v2/queues/{queue}/subscriptions/{subscription}/confirm": Row({"confirmed": True}),
    "POST /identity/v3/auth/tokens": Row(
        {"auth": {"identity": {"methods": ["password"], "password": {"user": _PROOF}}}}, refused=401
    ),
    "GET /identity/v3/auth/tokens": Row(headers=SUBJECT),
    "DELETE /identity/v3/auth/tokens": Row(headers=SUBJECT),
    "GET /identity/v3/auth/catalog": Row(open=True, unscoped=403),
    "GET /identity/v3/auth/projects": Row(of_self=True),
    "GET /identity/v3/auth/domains": Row(of_self=True),
    "GET /identity/v3/auth/system": Row(of_self=True),
    "POST /identity/v3/domains": Row({"domain": {"name": "new-{name}"}}),
    "PATCH /identity/v3/domains/{domain}": Row({"domain": {"description": "changed"}}),
    "POST /identity/v3/roles": Row({"role": {"name": "new-{name}"}}),
    "PATCH /identity/v3/roles/{role}": Row({"role": {"description": "changed"}}),
    "POST /identity/v3/users/{user}/application_credentials": (
        Row(_CREDENTIAL),
        Row(_CREDENTIAL, things={"user": "self"}, of_self=True, no_project=400),
    ),
    "PUT /identity/v3/projects/{project}/tags": Row({"tags": ["new-{name}"]}),
    "POST /identity/v3/users": Row({"user": {"name": "new-{name}", "password": PASSWORD}}),
    "PATCH /identity/v3/users/{user}": Row({"user": {"description": "changed"}}),
    "POST /identity/v3/users/{user}/password": Row(
        {"user": {"password": PASSWORD, "original_password": "wrong"}}, refused=401
    ),
    "POST /identity/v3/projects": Row({"project": {"name": "new-{name}"}}),
    "PATCH /identity/v3/projects/{project}": Row({"project": {"description": "changed"}}),
    "GET /identity/v3/role_assignments": Row(
        queries=("", "?user.id={user}", "?scope.project.id={project}")
    ),
    "GET /identity/v3/services/{id}": Row(things={"id": "service"}),
    "GET /identity/v3/endpoints/{id}": Row(things={"id": "endpoint"}),
    "GET /identity/v3/regions/{id}": Row(things={"id": "region"}),
    "GET /keys/v1/keys/{name}": Row(things={"name": "party"}),
    "PUT /keys/v1/keys/{name}": Row(
        {"key": b64encode(bytes(range(32))).decode()}, things={"name": "party"}
    ),
    "DELETE /keys/v1/keys/{name}": Row(things={"name": "party"}),
    "GET /keys/v1/groups/{name}": Row(things={"name": "group"}),
    "PUT /keys/v1/groups/{name}": Row({"members": ["api.*"]}, things={"name": "group"}),
    "DELETE /keys/v1/groups/{name}": Row(things={"name": "group"}),
    "POST /keys/v1/tickets": Row(_unsigned(Purpose.TICKET), refused=401),
    "POST /keys/v1/groups": Row(_unsigned(Purpose.GROUP_KEY), refused=401),
    "PUT /keys/v1/certificates/{name}": Row(
        _unsigned(Purpose.ENROL), things={"name": "nobody"}, refused=401
    ),
    "GET /keys/v1/certificates": Row(queries=("?topic={name}&server={name}", "?group={name}")),
}
"""Route -> how it is asked, in one way or several."""


@dataclass(frozen=True)
class Asked:
    """A route as it is asked."""

    mount: Mount
    route: Route
    row: Row
    rule: AccessRule | None

    @property
    def name(self) -> str:
        return f"{self.route.method} {self.mount.prefix}{self.route.path}"

    @property
    def operation(self) -> tuple[str, str, str]:
        return self.mount.prefix, self.route.method, self.route.path

    @property
    def needs_token(self) -> bool:
        return secured(self.route)

    @property
    def guesses(self) -> bool:
        """Whether a wrong password is in it."""
        return self.changes and not self.needs_token

    @property
    def changes(self) -> bool:
        return self.route.method not in ("GET", "HEAD")

    def names(self, query: str) -> set[str]:
        """What the things are called that a request names."""
        said = [self.path, query, repr(self.row.body), *self.row.headers.values()]
        return {name for text in said for name in re.findall(r"\{(\w+)\}", text)}

    @property
    def path(self) -> str:
        def renamed(found: re.Match[str]) -> str:
            return f"{{{self.row.things.get(found[1], found[1])}}}"

        path = self.mount.prefix + self.route.path
        return re.sub(r"\{(\w+)\}", renamed, path) or "/"


def asked(mounts: Sequence[Mount]) -> Iterator[Asked]:
    """Every route in every way that `ROWS` says."""
    for mount in mounts:
        rules: dict[str, AccessRule] = {}
        for rule in RULES.get(mount.prefix, ()):
            for operation in rule.operations:
                rules.setdefault(operation, rule)
        for route in mount.routes:
            name = f"{route.method} {mount.prefix}{route.path}"
            rule = rules.get(f"{route.method} {route.path}")
            rows = ROWS.get(name, Row())
            for row in rows if isinstance(rows, tuple) else (rows,):
                yield Asked(mount, route, row, rule)


def missing(mounts: Sequence[Mount], things: Fields) -> list[str]:
    """Why a route could not be asked in a way that tells anything; and rows of no route."""
    every = list(asked(mounts))
    faults = [f"{name} is no route" for name in sorted(set(ROWS) - {one.name for one in every})]
    for one in every:
        if one.route.body is not None and one.row.body is None:
            faults.append(f"{one.name} takes a body; give one in ROWS")
        unknown = set().union(*map(one.names, one.row.queries)) - {*things, "self"}
        if unknown:
            faults.append(f"{one.name} names {unknown}; make such things in `furnished`")
        if one.needs_token and one.rule is None and not one.row.open:
            faults.append(f"{one.name} has no declared access rule, and no row says `open`")
    return faults


class Matrix:
    """Asks, and collects what is amiss."""

    def __init__(self, world: World, only: Collection[str] = ()) -> None:
        """`only`: the names of the routes that are asked; empty for all."""
        self.world = world
        self._asked = [one for one in asked(world.mounts) if not only or one.name in only]
        self.faults: list[str] = []
        self.requests = 0
        self._described = Described(world.documents)
        self._rules = {prefix: Rules(defaults(rules)) for prefix, rules in RULES.items()}
        self._number = 0

    async def furnished(self) -> dict[str, str]:
        """New things of the owner's: name -> what names it in a request."""
        return {
            **await self._queue_things(),
            **await self._accounts(),
            **await self._key_things(),
            "nobody": _PARTY,
        }

    async def _fresh(self, one: Asked, things: Fields) -> Fields:
        """New ones of the kinds that the route's part has."""
        makers = {QUEUE: self._queue_things, KEYS: self._key_things}
        return {**things, **await makers.get(one.mount.prefix, self._accounts)()}

    async def _accounts(self) -> dict[str, str]:
        self._number += 1
        return await self.world.accounts(f"user-{self._number:05d}")

    async def _queue_things(self) -> dict[str, str]:
        self._number += 1
        world, owner = self.world, self.world.tenants[OWNER]
        queue = f"mine-{self._number:05d}"
        base = f"{QUEUE}/v2/queues/{queue}"
        await world.must(owner, "PUT", base, {"colour": MARK, "_dead_letter_queue": "dead"})
        posted = await world.must(
            owner, "POST", f"{base}/messages", {"messages": [{"body": MARK}, {"body": MARK}]}
        )
        held, message = (text.rpartition("/")[2] for text in posted.json()["resources"])
        claimed = await world.must(owner, "POST", f"{base}/claims?limit=1")
        hook = {"subscriber": f"https://hook.example/{MARK}"}
        subscribed = await world.must(owner, "POST", f"{base}/subscriptions", hook)
        return {
            "queue": queue,
            "held": held,
            "message": message,
            "claim": claimed.headers["location"].rpartition("/")[2],
            "subscription": subscribed.json()["subscription_id"],
        }

    async def _key_things(self) -> dict[str, str]:
        self._number += 1
        world, owner = self.world, self.world.tenants[OWNER]
        party, group = f"mine.{self._number:05d}", f"mine-{self._number:05d}"
        key = b64encode(os.urandom(32)).decode()
        await world.must(owner, "PUT", f"{KEYS}/v1/keys/{party}", {"key": key})
        await world.must(owner, "PUT", f"{KEYS}/v1/groups/{group}", {"members": ["marked.*"]})
        return {"party": party, "group": group}

    def unknown(self, like: Fields) -> dict[str, str]:
        """What names things that never were, in texts of the same lengths."""
        self._number += 1
        names = {"queue": f"nope-{self._number:05d}", "name": f"none-{self._number:05d}"}
        names |= {"party": f"none.{self._number:05d}", "group": f"none-{self._number:05d}"}
        names |= {"nobody": like["nobody"]}
        ids = {name: str(uuid.uuid4()) for name in ("message", "held", "claim", "subscription")}
        ids |= {name: f"00000000{ids[name][8:]}" for name in ("message", "held", "subscription")}
        rest = {
            name: (uuid.uuid4().hex * 20)[: len(text)]
            for name, text in like.items()
            if name not in names | ids
        }
        return {**rest, **names, **ids}

    async def ask(self, one: Asked, tenant: Tenant, things: Fields, query: str) -> Reply:
        self.requests += 1
        own = things["user"] if tenant.context is None else tenant.context.user_id
        things = {**things, "self": own}
        path = one.path + query
        headers = {name: _filled(text, things) for name, text in one.row.headers.items()}
        reply = await self.world.ask(
            tenant, one.route.method, _filled(path, things), _filled(one.row.body, things), headers
        )
        if one.guesses:  # else whoever signs in next would have to wait
            self.world.cloud.clock.move_s(USER_WAIT_MOST_S)
        return reply

    def fault(self, one: Asked, tenant: Tenant, text: str) -> None:
        self.faults.append(f"{one.name} by {tenant.name}: {text}")

    def admits(self, one: Asked, tenant: Tenant, things: Fields) -> bool:
        """What the declared rule says of a tenant with a valid token."""
        if one.rule is None:
            return True
        assert tenant.context is not None
        targets = {
            "project_id": tenant.context.project_id,
            "target.user.id": tenant.context.user_id if one.row.of_self else things["user"],
            "target.project.id": things["project"],
            "target.domain.id": things["domain"],
            "target.token.user_id": things["user"],
        }
        target = {name: targets[name] for name in one.rule.targets}
        try:
            self._rules[one.mount.prefix].enforce(one.rule.name, tenant.context, target)
        except Forbidden:
            return False
        return True

    async def admission(self) -> None:
        """Each tenant is let in or refused as the declared rules and its token say."""
        shared = await self.furnished()
        before = await self._standing(shared)
        for one in self._asked:
            for tenant in self.world.tenants.values():
                for query in one.row.queries:
                    await self._admission_of(one, tenant, shared, query)
            if one.changes:
                await self._check_standing(one, shared, before)

    async def _admission_of(self, one: Asked, tenant: Tenant, shared: Fields, query: str) -> None:
        wanted = self._wanted(one, tenant, shared)
        things = shared
        if one.changes and (not one.needs_token or wanted is None):
            things = await self._fresh(one, shared)
        reply = await self.ask(one, tenant, things, query)
        for fault in self._described.faults(one.operation, reply):
            self.fault(one, tenant, fault)
        if wanted is not None and reply.status != wanted:
            self.fault(one, tenant, f"answers {reply.status}, not {wanted}: {reply.body!r}")
        elif wanted is None and tenant.is_owner and reply.status >= 400:
            self.fault(one, tenant, f"answers {reply.status}, should succeed: {reply.body!r}")

    def _wanted(self, one: Asked, tenant: Tenant, things: Fields) -> int | None:
        """The status that has to come; None for success, if the thing is the tenant's."""
        if not one.needs_token:
            return one.row.refused or None
        if tenant.context is None:
            return 401
        if not tenant.context.project_id:
            if one.rule is not None and one.rule.scope == "project":
                return 400
            if one.row.no_project:
                return one.row.no_project
        place = tenant.context.project_id or tenant.context.domain_id or tenant.context.system
        if one.row.unscoped and not place:
            return one.row.unscoped
        if not self.admits(one, tenant, things):
            return 403
        return one.row.refused or None

    async def secrecy(self) -> None:
        """Who may not see a thing cannot tell it from one that never was."""
        mine = await self.furnished()
        nothing = self.unknown(mine)
        before = await self._standing(mine)
        theirs = f"them-{self._number:05d}"
        await self.world.must(
            self.world.tenants["foreign-member"],
            "POST",
            f"{QUEUE}/v2/queues/{theirs}/messages",
            {"messages": [{"body": "theirs"}]},
        )
        for one in self._asked:
            for tenant in self.world.tenants.values():
                if self._may_see(one, tenant, mine):
                    continue
                if one.guesses:
                    mine = {**mine, **await self._accounts()}
                    nothing, before = self.unknown(mine), await self._standing(mine)
                for query in one.row.queries:
                    names = one.names(query)
                    if not names:
                        self._check_hidden(one, tenant, await self.ask(one, tenant, mine, query))
                    else:
                        await self._compared(one, tenant, mine, nothing, query)
                    if names & {"message", "held", "claim", "subscription"}:
                        inside = {"queue": theirs}
                        await self._compared(
                            one, tenant, {**mine, **inside}, {**nothing, **inside}, query
                        )
            await self._check_standing(one, mine, before)

    def _may_see(self, one: Asked, tenant: Tenant, mine: Fields) -> bool:
        if tenant.context is None or not one.needs_token:
            return False
        if one.mount.prefix == QUEUE:
            return tenant.is_owner
        return self.admits(one, tenant, mine)

    async def _compared(
        self, one: Asked, tenant: Tenant, mine: Fields, nothing: Fields, query: str
    ) -> None:
        found = await self.ask(one, tenant, mine, query)
        fresh = await self.ask(one, tenant, nothing, query)
        names = one.names(query) & set(mine)
        told = seen(found, {name: mine[name] for name in names})
        of_nothing = seen(fresh, {name: nothing[name] for name in names})
        if told != of_nothing:
            self.fault(one, tenant, f"{query} tells {told} from {of_nothing}")
        self._check_hidden(one, tenant, found)

    def _check_hidden(self, one: Asked, tenant: Tenant, reply: Reply) -> None:
        if MARK.encode() in reply.body and not tenant.is_owner:
            self.fault(one, tenant, f"shows what is not theirs: {reply.body!r}")

    async def honesty(self) -> None:
        """Claims of another identity in headers change nothing."""
        things = await self.furnished()
        for one in self._asked:
            if one.guesses:
                continue
            for tenant in self.world.tenants.values():
                if tenant.honest is None:
                    continue
                for query in one.row.queries:
                    await self._told_apart(one, tenant, tenant.honest, things, query)

    async def _told_apart(
        self, one: Asked, tenant: Tenant, honest: Tenant, things: Fields, query: str
    ) -> None:
        if one.changes:
            await self.ask(one, honest, things, query)  # what it makes is then there for both
        told = seen(await self.ask(one, tenant, things, query), {})
        as_is = seen(await self.ask(one, honest, things, query), {})
        if _steady(told) != _steady(as_is):
            self.fault(one, tenant, f"{query} answers {told}, without claims {as_is}")

    async def _standing(self, things: Fields) -> list[Any]:
        """All that the owner sees of their things."""
        queue = f"{QUEUE}/v2/queues/{things['queue']}"
        paths = (
            queue,
            f"{queue}/stats",
            f"{queue}/messages/{things['message']}",
            f"{queue}/messages/{things['held']}",
            f"{queue}/claims/{things['claim']}",
            f"{KEYS}/v1/keys/{things['party']}",
            f"{KEYS}/v1/groups/{things['group']}",
            f"{IDENTITY}/v3/users/{things['user']}",
            f"{IDENTITY}/v3/users/{things['user']}/application_credentials",
            f"{IDENTITY}/v3/projects/{things['project']}",
            f"{IDENTITY}/v3/domains/{things['domain']}",
            f"{IDENTITY}/v3/roles/{things['role']}",
            f"{IDENTITY}/v3/role_assignments?user.id={things['user']}",
        )
        owner = self.world.tenants[OWNER]
        return [_steady(seen(await self.world.ask(owner, "GET", path), {})) for path in paths]

    async def _check_standing(self, one: Asked, things: Fields, before: list[Any]) -> None:
        if await self._standing(things) != before:
            self.faults.append(f"{one.name} was refused to some, but the thing has changed")


def _filled(shape: Any, things: Fields) -> Any:
    """`{name}` in all texts of the shape stands for that thing."""
    if isinstance(shape, str):
        return re.sub(r"\{(\w+)\}", lambda found: things[found[1]], shape)
    if isinstance(shape, dict):
        return {name: _filled(one, things) for name, one in shape.items()}
    return [_filled(one, things) for one in shape] if isinstance(shape, list) else shape


def _steady(answer: tuple[int, dict[str, str], str]) -> tuple[int, dict[str, str], str]:
    """Without what time changes."""
    status, headers, body = answer
    kept = {name: text for name, text in headers.items() if name != "content-length"}
    counted = kept.get("content-type", "").startswith("text/plain")
    return status, kept, "figures" if counted else body
