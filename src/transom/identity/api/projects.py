# SPDX-License-Identifier: Apache-2.0
"""`/v3/projects`, and their tags."""

from dataclasses import dataclass, replace

from msgspec import UNSET, ValidationError, convert

from transom.errors import BadRequest, NotFound
from transom.identity.api import answers, documents
from transom.identity.api.answers import NOT_FOUND, TAKEN
from transom.identity.api.callers import Callers
from transom.identity.api.fields import changed, home_of
from transom.identity.api.query import (
    DOMAIN,
    ENABLED,
    NAME,
    PAGE,
    TAGS,
    TAGS_MOST,
    filter_of,
    flag,
    page_links,
    tags_of,
)
from transom.identity.api.shapes import CreateProject, SetTags, Tag, UpdateProject
from transom.identity.app.projects import Projects, without
from transom.identity.app.tokens import Caller, Tokens
from transom.identity.model import Filter, PlaceChange, Project
from transom.runtime.http.route import Answer, Call, Parameter, Route

_ONE = {200: answers.OneProject, **NOT_FOUND}
_PARENT = Parameter("parent_id", "Only what is directly in this domain.")
_IS_DOMAIN = Parameter("is_domain", "Projects that act as domains, of which there are none.", bool)


@dataclass(frozen=True, slots=True)
class ProjectHandlers:
    projects: Projects
    tokens: Tokens
    root: str

    def routes(self) -> list[Route]:
        guarded = Callers(self.tokens).route
        every, one = "/v3/projects", "/v3/projects/{project}"
        return [
            guarded(
                "GET",
                every,
                self.listed,
                parameters=(NAME, ENABLED, DOMAIN, _PARENT, _IS_DOMAIN, *TAGS, *PAGE),
                answers={200: answers.Projects},
                summary="List projects",
            ),
            guarded(
                "POST",
                every,
                self.create,
                body=CreateProject,
                answers={201: answers.OneProject, **NOT_FOUND, **TAKEN},
                summary="Make a project",
            ),
            guarded("GET", one, self.show, answers=_ONE, summary="Show a project"),
            guarded(
                "PATCH",
                one,
                self.update,
                body=UpdateProject,
                answers={**_ONE, **TAKEN},
                summary="Change a project",
            ),
            guarded(
                "DELETE",
                one,
                self.delete,
                answers={204: None, **NOT_FOUND},
                summary="Delete a project",
            ),
            *self._tag_routes(one + "/tags"),
        ]

    def _tag_routes(self, path: str) -> list[Route]:
        guarded = Callers(self.tokens).route
        gone = {204: None, **NOT_FOUND}
        tags = {200: answers.Tags, **NOT_FOUND}
        one = path + "/{tag}"
        return [
            guarded("GET", path, self.tags, answers=tags, summary="List a project's tags"),
            guarded(
                "PUT", path, self.set_tags, body=SetTags, answers=tags, summary="Set all the tags"
            ),
            guarded("DELETE", path, self.clear_tags, answers=gone, summary="Take all tags away"),
            guarded("GET", one, self.has_tag, answers=gone, summary="Whether it has a tag"),
            guarded(
                "PUT", one, self.add_tag, answers={201: None, **NOT_FOUND}, summary="Give it a tag"
            ),
            guarded("DELETE", one, self.remove_tag, answers=gone, summary="Take a tag away"),
        ]

    async def listed(self, caller: Caller, call: Call[None]) -> Answer:
        query = call.query
        only = _filter(call)
        found = await self.projects.listed(caller.context, only)
        if flag(query, "is_domain"):
            found = []  # no project acts as a domain
        shown = [documents.project(project, self.root) for project in found]
        links = page_links(self.root, "projects", query, only, found)
        return Answer(body=answers.Projects(shown, links))

    async def show(self, caller: Caller, call: Call[None]) -> Answer:
        return self._answer(await self.projects.get(caller.context, call.path["project"]))

    async def create(self, caller: Caller, call: Call[CreateProject]) -> Answer:
        given = call.body.project
        domain_id = home_of(caller, given.domain_id or given.parent_id)
        if given.is_domain or given.parent_id not in (None, domain_id):
            raise BadRequest("Projects inside projects, or as domains, are not offered here.")
        project = Project(
            "",
            given.name,
            domain_id,
            given.enabled,
            given.description or "",
            tuple(given.tags),
        )
        return self._answer(await self.projects.create(caller.context, project), 201)

    async def update(self, caller: Caller, call: Call[UpdateProject]) -> Answer:
        given = call.body.project
        change = PlaceChange(
            name=changed(given.name),
            enabled=None if given.enabled is UNSET else given.enabled,
            description=changed(given.description),
            tags=None if given.tags is UNSET else tuple(given.tags),
        )
        project_id = call.path["project"]
        return self._answer(await self.projects.update(caller.context, project_id, change))

    async def delete(self, caller: Caller, call: Call[None]) -> Answer:
        await self.projects.delete(caller.context, call.path["project"])
        return Answer(204)

    async def tags(self, caller: Caller, call: Call[None]) -> Answer:
        tags = await self.projects.tags(caller.context, call.path["project"])
        return Answer(body=answers.Tags(list(tags)))

    async def set_tags(self, caller: Caller, call: Call[SetTags]) -> Answer:
        wanted = set(call.body.tags)
        tags = await self.projects.retag(caller.context, call.path["project"], lambda _: wanted)
        return Answer(body=answers.Tags(list(tags)))

    async def clear_tags(self, caller: Caller, call: Call[None]) -> Answer:
        await self.projects.retag(caller.context, call.path["project"], lambda _: set())
        return Answer(204)

    async def has_tag(self, caller: Caller, call: Call[None]) -> Answer:
        tag = call.path["tag"]
        if tag not in await self.projects.tags(caller.context, call.path["project"]):
            raise NotFound(f"The project has no tag {tag}.")
        return Answer(204)

    async def add_tag(self, caller: Caller, call: Call[None]) -> Answer:
        tag = _tag(call.path["tag"])

        def change(present: set[str]) -> set[str]:
            if len(present | {tag}) > TAGS_MOST:
                raise BadRequest(f"A project has at most {TAGS_MOST} tags; take one away first.")
            return present | {tag}

        await self.projects.retag(caller.context, call.path["project"], change)
        return Answer(201)

    async def remove_tag(self, caller: Caller, call: Call[None]) -> Answer:
        change = without(call.path["tag"])
        await self.projects.retag(caller.context, call.path["project"], change)
        return Answer(204)

    def _answer(self, project: Project, status: int = 200) -> Answer:
        return Answer(status, answers.OneProject(documents.project(project, self.root)))


def _filter(call: Call[None]) -> Filter:
    query = call.query
    only = filter_of(query)
    return replace(
        only,
        domain_id=query.get("parent_id", only.domain_id),
        tags=tags_of(query, "tags"),
        tags_any=tags_of(query, "tags-any"),
        not_tags=tags_of(query, "not-tags"),
        not_tags_any=tags_of(query, "not-tags-any"),
    )


def _tag(text: str) -> str:
    """Raises: BadRequest for what can be no tag."""
    try:
        found: str = convert(text, Tag)
    except ValidationError as error:
        raise BadRequest(f"The tag does not fit: {error}.") from None
    return found
