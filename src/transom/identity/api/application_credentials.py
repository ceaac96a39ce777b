# SPDX-License-Identifier: Apache-2.0
"""`/v3/users/{user}/application_credentials`."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from transom.errors import BadRequest
from transom.identity.api import answers, documents
from transom.identity.api.answers import NOT_FOUND, TAKEN
from transom.identity.api.callers import Callers
from transom.identity.api.query import NAME
from transom.identity.api.shapes import CreateApplicationCredential, NewApplicationCredential
from transom.identity.app.application_credentials import ApplicationCredentials
from transom.identity.app.tokens import Caller, Tokens
from transom.identity.model import ApplicationCredential, Role
from transom.runtime.http.route import Answer, Call, Route

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class ApplicationCredentialHandlers:
    credentials: ApplicationCredentials
    tokens: Tokens
    root: str

    def routes(self) -> list[Route]:
        guarded = Callers(self.tokens).route
        every = "/v3/users/{user}/application_credentials"
        one = every + "/{credential}"
        return [
            guarded(
                "GET",
                every,
                self.listed,
                parameters=(NAME,),
                answers={200: answers.Credentials},
                summary="List a user's application credentials",
            ),
            guarded(
                "POST",
                every,
                self.create,
                body=CreateApplicationCredential,
                answers={201: answers.OneCredential, **TAKEN},
                summary="Make an application credential of one's own",
            ),
            guarded(
                "GET",
                one,
                self.show,
                answers={200: answers.OneCredential, **NOT_FOUND},
                summary="Show an application credential",
            ),
            guarded(
                "DELETE",
                one,
                self.delete,
                answers={204: None, **NOT_FOUND},
                summary="Delete an application credential, which voids its tokens",
            ),
        ]

    async def listed(self, caller: Caller, call: Call[None]) -> Answer:
        user_id, wanted = call.path["user"], call.query.get("name")
        shown = [
            documents.credential(found, self.root)
            for found in await self.credentials.listed(caller.context, user_id)
            if wanted in (None, found.name)
        ]
        links = documents.list_links(self.root, f"users/{user_id}/application_credentials")
        return Answer(body=answers.Credentials(shown, links))

    async def create(self, caller: Caller, call: Call[CreateApplicationCredential]) -> Answer:
        given = call.body.application_credential
        wanted = _wanted(given, call.path["user"])
        made, secret = await self.credentials.create(caller, wanted, given.secret)
        return Answer(201, answers.OneCredential(documents.credential(made, self.root, secret)))

    async def show(self, caller: Caller, call: Call[None]) -> Answer:
        found = await self.credentials.get(
            caller.context, call.path["user"], call.path["credential"]
        )
        return Answer(body=answers.OneCredential(documents.credential(found, self.root)))

    async def delete(self, caller: Caller, call: Call[None]) -> Answer:
        await self.credentials.delete(caller, call.path["user"], call.path["credential"])
        return Answer(204)


def _wanted(given: NewApplicationCredential, user_id: str) -> ApplicationCredential:
    """Raises: BadRequest."""
    if given.access_rules:
        raise BadRequest(
            "`access_rules` are not offered: no service here would enforce them. Leave them out, "
            "and give the credential few roles."
        )
    if not all(role.id or role.name for role in given.roles):
        raise BadRequest("Each of `roles` needs an id or a name.")
    return ApplicationCredential(
        id="",
        name=given.name,
        user_id=user_id,
        project_id="",
        roles=tuple(Role(role.id or "", role.name or "") for role in given.roles),
        description=given.description or "",
        unrestricted=bool(given.unrestricted),
        expires_us=0 if given.expires_at is None else _microseconds(given.expires_at),
    )


def _microseconds(text: str) -> int:
    """Since 1970. Raises: BadRequest for what is no point in time after that."""
    try:
        at = datetime.fromisoformat(text)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
        found = (at - _BEGINNING) // _MICROSECOND
    except (ValueError, OverflowError):
        found = 0
    if found <= 0:
        raise BadRequest("`expires_at` is no point in time; write it as 2030-01-31T12:00:00.")
    return found
