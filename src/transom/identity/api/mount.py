# SPDX-License-Identifier: Apache-2.0
"""All routes of identity, and errors in Keystone's form."""

from http import HTTPStatus
from typing import Any

from transom.errors import Entry
from transom.identity.api.auth import AuthHandlers
from transom.identity.api.catalogue import CatalogueHandlers
from transom.identity.api.projects import GrantHandlers, ProjectHandlers
from transom.identity.api.users import UserHandlers
from transom.runtime.http.route import Mount

PREFIX = "/identity"


def mount(
    auth: AuthHandlers,
    catalogue: CatalogueHandlers,
    users: UserHandlers,
    projects: ProjectHandlers,
    grants: GrantHandlers,
) -> Mount:
    routes = [
        *auth.routes(),
        *catalogue.routes(),
        *users.routes(),
        *projects.routes(),
        *grants.routes(),
    ]
    where = {"www-authenticate": f'Keystone uri="{auth.root}"'}
    return Mount(PREFIX, routes, error_shape, where)


def error_shape(entry: Entry, text: str, request_id: str) -> Any:
    title = HTTPStatus(entry.status).phrase
    return {"error": {"code": entry.status, "title": title, "message": text}}
