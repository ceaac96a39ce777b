# SPDX-License-Identifier: Apache-2.0
"""What other parts may see of identity: live tables, the catalogue's form, rules, the service user.

Neither table has a secret in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from transom.messaging.schema import Audience, Column, ColumnKind, Table

SOURCE = "identity"

PROJECTS = Table(
    name="identity:projects",
    columns=(
        Column("id", ColumnKind.TEXT, "The project's id."),
        Column("name", ColumnKind.TEXT, "Its name, unique in its domain."),
        Column("domain_id", ColumnKind.TEXT, "Its domain."),
        Column("enabled", ColumnKind.BOOLEAN, "Whether tokens for it are given and hold."),
        Column("description", ColumnKind.TEXT, "What somebody wrote of it."),
    ),
    key=("id",),
    owner="id",
    audience=Audience.PROJECT,
)
USERS = Table(
    name="identity:users",
    columns=(
        Column("id", ColumnKind.TEXT, "The user's id."),
        Column("name", ColumnKind.TEXT, "Their name, unique in their domain."),
        Column("domain_id", ColumnKind.TEXT, "Their domain."),
        Column("enabled", ColumnKind.BOOLEAN, "Whether they get tokens and theirs hold."),
        Column("default_project_id", ColumnKind.TEXT, "The project they mean if they name none."),
    ),
    key=("id",),
    owner=None,
    audience=Audience.ADMIN,
)
TABLES = (PROJECTS, USERS)

SERVICE_USER = "transom"
"""The user as which our own doors validate tokens; its role is `service`."""
SERVICE_PROJECT = "service"
SERVICE_PASSWORD_FILE = "service.password"  # noqa: S105 a file's name
"""In the folder of the keys."""


@dataclass(frozen=True, slots=True)
class CatalogueService:
    """One service with one endpoint, of all interfaces. `type` as in the service types authority
    (`messaging`), `name` for people, `url` without a slash at its end.
    """

    type: str
    name: str
    url: str


DEFAULT_RULES: Mapping[str, str] = {
    "admin_required": "role:admin",
    "service_role": "role:service",
    "owner": "user_id:%(target.user.id)s",
    "token_subject": "user_id:%(target.token.user_id)s",
    "identity:validate_token": "rule:admin_required or rule:service_role or rule:token_subject",
    "identity:revoke_token": "rule:admin_required or rule:token_subject",
    "identity:list_users": "rule:admin_required",
    "identity:get_user": "rule:admin_required or rule:owner",
    "identity:create_user": "rule:admin_required",
    "identity:update_user": "rule:admin_required",
    "identity:delete_user": "rule:admin_required",
    "identity:list_projects": "rule:admin_required",
    "identity:list_user_projects": "rule:admin_required or rule:owner",
    "identity:get_project": "rule:admin_required or project_id:%(target.project.id)s",
    "identity:create_project": "rule:admin_required",
    "identity:update_project": "rule:admin_required",
    "identity:delete_project": "rule:admin_required",
    "identity:list_roles": "rule:admin_required",
    "identity:get_role": "rule:admin_required",
    "identity:list_grants": "rule:admin_required",
    "identity:check_grant": "rule:admin_required",
    "identity:create_grant": "rule:admin_required",
    "identity:revoke_grant": "rule:admin_required",
    "identity:list_role_assignments": "rule:admin_required",
    "identity:list_domains": "rule:admin_required",
    "identity:get_domain": "rule:admin_required or domain_id:%(target.domain.id)s",
    "identity:list_services": "rule:admin_required",
    "identity:list_endpoints": "rule:admin_required",
    "identity:list_regions": "@",
}
"""Rule name -> text in the language of oslo.policy; the names are Keystone's."""
