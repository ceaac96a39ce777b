# SPDX-License-Identifier: Apache-2.0
"""What other parts may see of identity: live tables, the catalogue's form, rules, the service user.

Neither table has a secret in it.
"""

from dataclasses import dataclass

from transom.messaging.schema import Audience, Column, ColumnKind, Table
from transom.runtime.auth.declared import AccessRule

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


DEFAULT_RULES: tuple[AccessRule, ...] = (
    AccessRule("admin_required", "role:admin", "Who may do everything here."),
    AccessRule(
        "system_reader",
        "role:reader and system_scope:all",
        "Who may look at everything here: a reader of the system.",
    ),
    AccessRule("service_role", "role:service", "The services' own users, which validate tokens."),
    AccessRule(
        "owner",
        "user_id:%(target.user.id)s",
        "The user that is asked about.",
        targets=("target.user.id",),
    ),
    AccessRule(
        "token_subject",
        "user_id:%(target.token.user_id)s",
        "The user whose token is asked about.",
        targets=("target.token.user_id",),
    ),
    AccessRule(
        "identity:validate_token",
        "rule:admin_required or rule:service_role or rule:token_subject",
        "Validate another's token.",
        ("GET /v3/auth/tokens",),
        targets=("target.token.user_id",),
    ),
    AccessRule(
        "identity:revoke_token",
        "rule:admin_required or rule:token_subject",
        "Revoke another's token.",
        ("DELETE /v3/auth/tokens",),
        targets=("target.token.user_id",),
    ),
    AccessRule(
        "identity:list_users",
        "rule:admin_required or rule:system_reader",
        "List users.",
        ("GET /v3/users",),
    ),
    AccessRule(
        "identity:get_user",
        "rule:admin_required or rule:system_reader or rule:owner",
        "Show a user.",
        ("GET /v3/users/{user}",),
        targets=("target.user.id",),
    ),
    AccessRule("identity:create_user", "rule:admin_required", "Make a user.", ("POST /v3/users",)),
    AccessRule(
        "identity:update_user",
        "rule:admin_required",
        "Change a user.",
        ("PATCH /v3/users/{user}",),
        targets=("target.user.id",),
    ),
    AccessRule(
        "identity:delete_user",
        "rule:admin_required",
        "Delete a user.",
        ("DELETE /v3/users/{user}",),
        targets=("target.user.id",),
    ),
    AccessRule(
        "identity:list_projects",
        "rule:admin_required or rule:system_reader",
        "List projects.",
        ("GET /v3/projects",),
    ),
    AccessRule(
        "identity:list_user_projects",
        "rule:admin_required or rule:system_reader or rule:owner",
        "List on what a user has a role.",
        (
            "GET /v3/users/{user}/projects",
            "GET /v3/auth/projects",
            "GET /v3/auth/domains",
            "GET /v3/auth/system",
        ),
        targets=("target.user.id",),
    ),
    AccessRule(
        "identity:get_project",
        "rule:admin_required or rule:system_reader or project_id:%(target.project.id)s",
        "Show a project.",
        ("GET /v3/projects/{project}",),
        targets=("target.project.id",),
    ),
    AccessRule(
        "identity:create_project", "rule:admin_required", "Make a project.", ("POST /v3/projects",)
    ),
    AccessRule(
        "identity:update_project",
        "rule:admin_required",
        "Change a project.",
        ("PATCH /v3/projects/{project}",),
        targets=("target.project.id",),
    ),
    AccessRule(
        "identity:delete_project",
        "rule:admin_required",
        "Delete a project.",
        ("DELETE /v3/projects/{project}",),
        targets=("target.project.id",),
    ),
    AccessRule(
        "identity:list_roles",
        "rule:admin_required or rule:system_reader",
        "List roles.",
        ("GET /v3/roles",),
    ),
    AccessRule(
        "identity:get_role",
        "rule:admin_required or rule:system_reader",
        "Show a role.",
        ("GET /v3/roles/{role}",),
    ),
    AccessRule(
        "identity:list_grants",
        "rule:admin_required or rule:system_reader",
        "List a user's roles on a project or domain.",
        (
            "GET /v3/projects/{project}/users/{user}/roles",
            "GET /v3/domains/{domain}/users/{user}/roles",
        ),
    ),
    AccessRule(
        "identity:check_grant",
        "rule:admin_required or rule:system_reader",
        "Ask whether a user has a role on a project or domain.",
        (
            "GET /v3/projects/{project}/users/{user}/roles/{role}",
            "GET /v3/domains/{domain}/users/{user}/roles/{role}",
        ),
    ),
    AccessRule(
        "identity:create_grant",
        "rule:admin_required",
        "Give a user a role on a project or domain.",
        (
            "PUT /v3/projects/{project}/users/{user}/roles/{role}",
            "PUT /v3/domains/{domain}/users/{user}/roles/{role}",
        ),
    ),
    AccessRule(
        "identity:revoke_grant",
        "rule:admin_required",
        "Take a role on a project or domain from a user.",
        (
            "DELETE /v3/projects/{project}/users/{user}/roles/{role}",
            "DELETE /v3/domains/{domain}/users/{user}/roles/{role}",
        ),
    ),
    AccessRule(
        "identity:list_role_assignments",
        "rule:admin_required or rule:system_reader",
        "List who has which role on what.",
        ("GET /v3/role_assignments",),
    ),
    AccessRule(
        "identity:list_domains",
        "rule:admin_required or rule:system_reader",
        "List domains.",
        ("GET /v3/domains",),
    ),
    AccessRule(
        "identity:get_domain",
        "rule:admin_required or rule:system_reader or domain_id:%(target.domain.id)s "
        "or project_domain_id:%(target.domain.id)s",
        "Show a domain.",
        ("GET /v3/domains/{domain}",),
        targets=("target.domain.id",),
    ),
    AccessRule(
        "identity:validate_expired_token",
        "rule:admin_required or rule:service_role",
        "Validate a token that ended a while ago.",
        ("GET /v3/auth/tokens",),
    ),
    AccessRule(
        "identity:list_project_tags",
        "rule:admin_required or rule:system_reader or project_id:%(target.project.id)s",
        "Look at the tags of a project.",
        ("GET /v3/projects/{project}/tags", "GET /v3/projects/{project}/tags/{tag}"),
        targets=("target.project.id",),
    ),
    AccessRule(
        "identity:update_project_tags",
        "rule:admin_required",
        "Change the tags of a project.",
        (
            "PUT /v3/projects/{project}/tags",
            "DELETE /v3/projects/{project}/tags",
            "PUT /v3/projects/{project}/tags/{tag}",
            "DELETE /v3/projects/{project}/tags/{tag}",
        ),
        targets=("target.project.id",),
    ),
    AccessRule(
        "identity:create_role",
        "rule:admin_required",
        "Make a role.",
        ("POST /v3/roles",),
    ),
    AccessRule(
        "identity:update_role",
        "rule:admin_required",
        "Change a role.",
        ("PATCH /v3/roles/{role}",),
    ),
    AccessRule(
        "identity:delete_role",
        "rule:admin_required",
        "Delete a role.",
        ("DELETE /v3/roles/{role}",),
    ),
    AccessRule(
        "identity:list_system_grants_for_user",
        "rule:admin_required or rule:system_reader",
        "List a user's roles on the system.",
        ("GET /v3/system/users/{user}/roles",),
    ),
    AccessRule(
        "identity:check_system_grant_for_user",
        "rule:admin_required or rule:system_reader",
        "Ask whether a user has a role on the system.",
        ("GET /v3/system/users/{user}/roles/{role}",),
    ),
    AccessRule(
        "identity:create_system_grant_for_user",
        "rule:admin_required",
        "Give a user a role on the system.",
        ("PUT /v3/system/users/{user}/roles/{role}",),
    ),
    AccessRule(
        "identity:revoke_system_grant_for_user",
        "rule:admin_required",
        "Take a role on the system from a user.",
        ("DELETE /v3/system/users/{user}/roles/{role}",),
    ),
    AccessRule(
        "identity:create_domain",
        "rule:admin_required",
        "Make a domain.",
        ("POST /v3/domains",),
    ),
    AccessRule(
        "identity:update_domain",
        "rule:admin_required",
        "Change a domain.",
        ("PATCH /v3/domains/{domain}",),
        targets=("target.domain.id",),
    ),
    AccessRule(
        "identity:delete_domain",
        "rule:admin_required",
        "Delete a domain with all that is in it.",
        ("DELETE /v3/domains/{domain}",),
        targets=("target.domain.id",),
    ),
    AccessRule(
        "identity:list_groups",
        "rule:admin_required or rule:system_reader or rule:owner",
        "List groups.",
        ("GET /v3/groups", "GET /v3/users/{user}/groups"),
        targets=("target.user.id",),
    ),
    AccessRule(
        "identity:list_application_credentials",
        "rule:admin_required or rule:system_reader or rule:owner",
        "List a user's application credentials.",
        ("GET /v3/users/{user}/application_credentials",),
        targets=("target.user.id",),
    ),
    AccessRule(
        "identity:get_application_credential",
        "rule:admin_required or rule:system_reader or rule:owner",
        "Show an application credential.",
        ("GET /v3/users/{user}/application_credentials/{credential}",),
        targets=("target.user.id",),
    ),
    AccessRule(
        "identity:create_application_credential",
        "rule:owner",
        "Make an application credential of one's own.",
        ("POST /v3/users/{user}/application_credentials",),
        targets=("target.user.id",),
    ),
    AccessRule(
        "identity:delete_application_credential",
        "rule:admin_required or rule:owner",
        "Delete an application credential.",
        ("DELETE /v3/users/{user}/application_credentials/{credential}",),
        targets=("target.user.id",),
    ),
    AccessRule(
        "identity:list_services",
        "rule:admin_required or rule:system_reader",
        "Look at the services of the catalogue.",
        ("GET /v3/services", "GET /v3/services/{id}"),
    ),
    AccessRule(
        "identity:list_endpoints",
        "rule:admin_required or rule:system_reader",
        "Look at the endpoints of the catalogue.",
        ("GET /v3/endpoints", "GET /v3/endpoints/{id}"),
    ),
    AccessRule(
        "identity:list_regions",
        "@",
        "Look at the regions.",
        ("GET /v3/regions", "GET /v3/regions/{id}"),
    ),
)
"""In the language of oslo.policy; the names are Keystone's."""
