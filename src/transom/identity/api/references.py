# SPDX-License-Identifier: Apache-2.0
"""From the ways in which a body names a user, a project or a credential to a reference.

Nothing is looked up here: who names what does not exist is told when it is not found.
"""

from transom.errors import BadRequest
from transom.identity.api.shapes import (
    ApplicationCredentialMethod,
    NamedUser,
    ProjectShape,
    ProvenUser,
)
from transom.identity.model import CredentialReference, Reference


def reference(named: ProvenUser | ProjectShape | NamedUser, place: str) -> Reference:
    """Raises: BadRequest."""
    if named.id:
        return Reference(id=named.id)
    if not named.name or named.domain is None:
        raise BadRequest(f"`{place}` needs an id, or a name and a domain.")
    if named.domain.id:
        return Reference(name=named.name, domain_id=named.domain.id)
    if not named.domain.name:
        raise BadRequest(f"`{place}.domain` needs an id or a name.")
    return Reference(name=named.name, domain_name=named.domain.name)


def credential_of(named: ApplicationCredentialMethod) -> CredentialReference:
    """Raises: BadRequest."""
    place = "auth.identity.application_credential"
    if named.id:
        return CredentialReference(id=named.id)
    if not named.name or named.user is None:
        raise BadRequest(f"`{place}` needs an id, or a name and a user.")
    return CredentialReference(name=named.name, user=reference(named.user, f"{place}.user"))
