# SPDX-License-Identifier: Apache-2.0
"""Makes a real Keystone know this Transom: its user, its services, its endpoints.

Invariants:
1. What is already as it should be is left alone: a second run changes nothing.
2. Nothing is changed before everything that could be refused by reading was read, and nothing is
   ever deleted; endpoints of somebody else's service in our region are a refusal, not a change.
3. It ends with a proof: the service user signs in and validates a token of another user.
4. The password is on disk before Keystone is told of it (the caller's `keep_password`).
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp

from transom.errors import ConfigError, Forbidden, Unauthorized, Unavailable
from transom.identity.contract import CatalogueService
from transom.runtime.auth.keystone import (
    ServiceCredentials,
    password_request,
    tls_context,
    v3_url,
)
from transom.runtime.auth.operator import Operator
from transom.runtime.secrets import Secret

DEADLINE_S = 30.0
INTERFACES = ("public", "internal", "admin")
PROOF_PAUSES_S = (0.0, 1.1)
"""Keystone counts in seconds: a token of the second in which the password changed is revoked."""
USUAL_REGION = "RegionOne"
USER_OPTIONS = {
    "ignore_change_password_upon_first_use": True,
    "ignore_password_expiry": True,
    "ignore_lockout_failure_attempts": True,
}
"""A program can't change its password in time, and nobody may lock it out by guessing."""
Found = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wish:
    """What there should be. `region`: empty for the only one that Keystone has."""

    username: str
    project_name: str
    domain_id: str
    role: str
    region: str
    services: Sequence[CatalogueService]


class Client:
    """Keystone's v3 as the operator may use it; an async context manager."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        self._url = v3_url(operator.auth_url)
        self._session: aiohttp.ClientSession | None = None
        self.token = ""

    async def __aenter__(self) -> Self:
        context = tls_context(self._url, self._operator.ca_file)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context),
            timeout=aiohttp.ClientTimeout(total=DEADLINE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def sign_in(self) -> None:
        """Raises: Unauthorized, ConfigError, Unavailable; all with what to do."""
        self.token = await self.token_of(self._operator.auth)
        if not self.token:
            raise Unauthorized(
                f"{self._url} refuses {self._operator.name}: the name, the password, the domain "
                "or the project is wrong"
            )

    async def token_of(self, auth: Mapping[str, Any]) -> str:
        """A token; empty if the credentials are refused."""
        status, _, headers = await self._request("POST", "/auth/tokens", auth, {})
        if status == 404:
            raise ConfigError(f"{self._url} is no Keystone of version 3; see OS_AUTH_URL")
        token = headers.get("X-Subject-Token", "")
        if status != 401 and (status != 201 or not token):
            raise Unavailable(f"{self._url} answers {status} to a sign-in")
        return token if status == 201 else ""

    async def validates(self, own: str, subject: str) -> bool:
        """Whether the bearer of the token `own` may validate the token `subject`."""
        headers = {"X-Auth-Token": own, "X-Subject-Token": subject}
        status, _, _ = await self._request("GET", "/auth/tokens?nocatalog", None, headers)
        return status == 200

    async def found(self, kind: str, **query: str) -> list[Found]:
        """The things of a kind (`users`) with these attributes."""
        answer = await self._asked("GET", f"/{kind}?{urlencode(query)}", None, f"read {kind}")
        things = answer.get(kind)
        if not isinstance(things, list):
            raise Unavailable(f"{self._url}/{kind} answers something else than Keystone would")
        return things

    async def make(self, kind: str, **fields: Any) -> str:
        """The new thing's id."""
        one = kind.removesuffix("s")
        answer = await self._asked("POST", f"/{kind}", {one: fields}, f"make {kind}")
        return str(answer[one]["id"])

    async def change(self, kind: str, identifier: str, **fields: Any) -> None:
        body = {kind.removesuffix("s"): fields}
        await self._asked("PATCH", f"/{kind}/{identifier}", body, f"change {kind}")

    async def grant(self, project_id: str, user_id: str, role_id: str) -> None:
        path = f"/projects/{project_id}/users/{user_id}/roles/{role_id}"
        await self._asked("PUT", path, None, "grant roles")

    async def _asked(self, method: str, path: str, body: Any, what: str) -> Found:
        status, answer, _ = await self._request(method, path, body, {"X-Auth-Token": self.token})
        if status == 403:
            raise Forbidden(
                f"{self._operator.name} may not {what} in this Keystone; the role admin is needed"
            )
        if status >= 300:
            error = answer.get("error")
            said = error.get("message", "") if isinstance(error, dict) else ""
            raise Unavailable(f"{self._url}{path} answers {status}: {said or 'no reason'}")
        return answer

    async def _request(
        self, method: str, path: str, body: Any, headers: Mapping[str, str]
    ) -> tuple[int, Found, Mapping[str, str]]:
        assert self._session is not None, "not entered"
        try:
            async with self._session.request(
                method, self._url + path, json=body, headers=headers, allow_redirects=False
            ) as response:
                if 300 <= response.status < 400 and "Location" in response.headers:
                    where = response.headers["Location"]
                    raise ConfigError(f"{self._url} redirects to {where}; use that address")
                try:
                    answer = await response.json(content_type=None)
                except ValueError:
                    answer = None
                return response.status, answer if isinstance(answer, dict) else {}, response.headers
        except (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError) as error:
            raise ConfigError(
                f"{self._url}: its certificate is not trusted ({error}); name the authority that "
                "signed it in OS_CACERT, or as cacert in clouds.yaml"
            ) from None
        except aiohttp.ClientConnectorSSLError:
            raise ConfigError(f"{self._url} does not speak TLS there; is it http://?") from None
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            why = str(error) or "no answer in time"
            raise Unavailable(f"{self._url} cannot be reached: {why}") from None


class Registration:
    """One run. `say` is told each line; `dry`: nothing is changed, and said what would be."""

    def __init__(self, client: Client, wish: Wish, say: Callable[[str], None], dry: bool) -> None:
        self._client = client
        self._wish = wish
        self._say = say
        self._dry = dry
        self._changes = 0

    async def carry_out(
        self, known: Secret, *, renew: bool, keep_password: Callable[[], Secret]
    ) -> Secret:
        """The password with which the service user signs in; empty in a dry run that has none.

        `known`: the one that is configured here; `renew`: the user gets another, as it does when
        it is made and none is known; `keep_password` makes that one, and has it on disk.
        """
        region = await self._region()
        services = [(wanted, await self._service(wanted, region)) for wanted in self._wish.services]
        users = await self._ours("users", self._wish.username)
        password = known
        if users and not renew and not (known and await self._signs_in(known)):
            raise ConfigError(
                f"user {self._wish.username!r} is there, and its password is not known here; "
                "write it to [keystone] password, or give it a new one with --new-password"
            )
        project_id = await self._project()
        if not users or renew:
            password = await self._user(users, known, renew, keep_password)
            users = await self._ours("users", self._wish.username)
        await self._role(project_id, users[0]["id"] if users else "")
        for wanted, found in services:
            await self._endpoints(wanted, found, region)
        if not self._dry:
            await self._prove(password)
        if not self._changes:
            self._say("everything in Keystone is as it should be; nothing was changed")
        return password

    async def _region(self) -> str:
        known = [found["id"] for found in await self._client.found("regions")]
        region = self._wish.region
        if not region:
            if len(known) > 1:
                raise ConfigError(f"name one of the regions {', '.join(known)} with --region")
            region = known[0] if known else USUAL_REGION
        if region not in known and self._change("make", "made", f"region {region}"):
            await self._client.make("regions", id=region)
        return region

    async def _project(self) -> str:
        name = self._wish.project_name
        found = await self._ours("projects", name)
        if found:
            return str(found[0]["id"])
        if not self._change("make", "made", f"project {name}"):
            return ""
        domain = self._wish.domain_id
        return await self._client.make(
            "projects", name=name, domain_id=domain, description="Service users"
        )

    async def _user(
        self,
        users: Sequence[Found],
        known: Secret,
        renew: bool,
        keep_password: Callable[[], Secret],
    ) -> Secret:
        name = self._wish.username
        what = f"user {name}"
        if users:
            if self._change("change", "changed", f"{what}: a new password"):
                known = keep_password()
                user_id = users[0]["id"]
                await self._client.change("users", user_id, password=known.reveal(), enabled=True)
        elif self._change("make", "made", what):
            known = keep_password() if renew or not known else known
            await self._client.make(
                "users",
                name=name,
                domain_id=self._wish.domain_id,
                password=known.reveal(),
                description="Validates tokens for Transom",
                options=USER_OPTIONS,
            )
        return known

    async def _role(self, project_id: str, user_id: str) -> None:
        name = self._wish.role
        roles = await self._client.found("roles", name=name)
        if not roles and self._change("make", "made", f"role {name}"):
            roles = [{"id": await self._client.make("roles", name=name)}]
        if project_id and user_id and roles:
            scope = {"scope.project.id": project_id, "user.id": user_id, "role.id": roles[0]["id"]}
            if await self._client.found("role_assignments", **scope):
                return
        what = f"user {self._wish.username}: role {name} on project {self._wish.project_name}"
        if self._change("change", "changed", what):
            await self._client.grant(project_id, user_id, roles[0]["id"])

    async def _service(self, wanted: CatalogueService, region: str) -> Found:
        """The service of that type, with `endpoints` in our region; without id if none is ours."""
        services = await self._client.found("services", type=wanted.type)
        endpoints = await self._client.found("endpoints", region_id=region)
        for service in services:
            own = [found for found in endpoints if found["service_id"] == service["id"]]
            if own and service.get("name") != wanted.name:
                raise ConfigError(
                    f"region {region} has endpoints of type {wanted.type} already, of service "
                    f"{service.get('name')!r} ({own[0]['url']}); delete them, or choose another "
                    "region with --region"
                )
            service["endpoints"] = own
        ours = [service for service in services if service.get("name") == wanted.name]
        return (ours or [{"id": "", "endpoints": []}])[0]

    async def _endpoints(self, wanted: CatalogueService, service: Found, region: str) -> None:
        service_id = service["id"]
        what = f"service {wanted.name} ({wanted.type})"
        if not service_id and self._change("make", "made", what):
            service_id = await self._client.make("services", type=wanted.type, name=wanted.name)
        for interface in INTERFACES:
            what = f"endpoint {wanted.type} {interface} in {region}: {wanted.url}"
            own = [found for found in service["endpoints"] if found["interface"] == interface]
            for found in own:
                if found["url"] != wanted.url and self._change(
                    "change", "changed", f"{what} (was {found['url']})"
                ):
                    await self._client.change("endpoints", found["id"], url=wanted.url)
            if not own and self._change("make", "made", what):
                await self._client.make(
                    "endpoints",
                    service_id=service_id,
                    region_id=region,
                    interface=interface,
                    url=wanted.url,
                )

    async def _signs_in(self, password: Secret) -> bool:
        """Whether that is the user's password, in whatever project."""
        auth = password_request(self._credentials(password))
        return bool(await self._client.token_of({"auth": {"identity": auth["auth"]["identity"]}}))

    async def _prove(self, password: Secret) -> None:
        name = self._wish.username
        for pause_s in PROOF_PAUSES_S:
            await asyncio.sleep(pause_s)
            own = await self._client.token_of(password_request(self._credentials(password)))
            if own and await self._client.validates(own, self._client.token):
                return
        if not own:
            raise ConfigError(
                f"user {name!r} cannot sign in to project {self._wish.project_name!r}; is the user "
                "or the project disabled?"
            )
        raise ConfigError(
            f"user {name!r} with the role {self._wish.role} may not validate tokens in this "
            "Keystone; run it again with --role admin, or see identity:validate_token in "
            "Keystone's policy"
        )

    def _credentials(self, password: Secret) -> ServiceCredentials:
        wish = self._wish
        return ServiceCredentials(
            "", wish.username, password, wish.domain_id, wish.project_name, wish.domain_id
        )

    async def _ours(self, kind: str, name: str) -> list[Found]:
        return await self._client.found(kind, name=name, domain_id=self._wish.domain_id)

    def _change(self, would: str, did: str, what: str) -> bool:
        """Says it; whether it is to be done."""
        self._changes += 1
        self._say(f"would {would} {what}" if self._dry else f"{did} {what}")
        return not self._dry
