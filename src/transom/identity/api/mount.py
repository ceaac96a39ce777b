# SPDX-License-Identifier: Apache-2.0
"""All routes of identity, and errors in Keystone's form."""

from collections.abc import Sequence
from http import HTTPStatus

from transom.errors import Entry
from transom.identity.api.answers import Error, Fault
from transom.identity.api.application_credentials import ApplicationCredentialHandlers
from transom.identity.api.auth import AuthHandlers
from transom.identity.api.catalogue import CatalogueHandlers
from transom.identity.api.domains import DomainHandlers
from transom.identity.api.grants import GrantHandlers
from transom.identity.api.projects import ProjectHandlers
from transom.identity.api.roles import RoleHandlers
from transom.identity.api.users import UserHandlers
from transom.runtime.http.route import Mount

PREFIX = "/identity"


Handlers = (
    AuthHandlers
    | CatalogueHandlers
    | DomainHandlers
    | UserHandlers
    | ApplicationCredentialHandlers
    | ProjectHandlers
    | RoleHandlers
    | GrantHandlers
)


def mount(handlers: Sequence[Handlers], root: str) -> Mount:
    """`root`: the public URL of `/identity/v3`."""
    routes = [route for each in handlers for route in each.routes()]
    where = {"www-authenticate": f'Keystone uri="{root}"'}
    return Mount(PREFIX, routes, error_shape, where)


def error_shape(entry: Entry, text: str, request_id: str) -> Error:
    return Error(Fault(entry.status, HTTPStatus(entry.status).phrase, text))
