# SPDX-License-Identifier: Apache-2.0
"""Users that there must be, with projects of their own: made, or made to be as they should."""

from collections.abc import Sequence
from dataclasses import dataclass

from transom.identity.app.passwords import Passwords
from transom.identity.app.writes import Writes
from transom.identity.model import (
    DEFAULT_DOMAIN,
    SYSTEM,
    Place,
    PlaceChange,
    Project,
    Reference,
    Role,
    ScopeKind,
    User,
    UserChange,
)
from transom.identity.store import grants, projects, roles, users
from transom.runtime.db.transaction import Transaction
from transom.runtime.ids import Randomness, new_hex


@dataclass(frozen=True, slots=True)
class Seeds:
    """Makes users with projects of their own, in the default domain."""

    writes: Writes
    passwords: Passwords
    random: Randomness

    async def sow(
        self,
        name: str,
        project: str,
        role_names: Sequence[str],
        password: str,
        *,
        drawn: bool,
        system: Sequence[str] = (),
    ) -> None:
        """The user with this password, enabled, with these roles on the project, and some of them
        on the system. What is there by these names already is taken.
        """
        domain_id = DEFAULT_DOMAIN.id
        user = User(new_hex(self.random), name, domain_id)
        place = Project(new_hex(self.random), project, domain_id)
        made = [Role(new_hex(self.random), role) for role in role_names]
        record = await self.passwords.hash(password, drawn=drawn)
        await self.writes.commit(lambda tx: _ensure(tx, user, record, place, made, system))


async def _ensure(
    tx: Transaction,
    user: User,
    record: str,
    project: Project,
    wanted: Sequence[Role],
    system: Sequence[str],
) -> None:
    found = await projects.find(tx, Reference(name=project.name, domain_id=project.domain_id))
    if found is None:
        await projects.insert(tx, project)
    else:
        project = await projects.update(tx, found[0].id, PlaceChange(enabled=True))
    account = await users.find(tx, Reference(name=user.name, domain_id=user.domain_id))
    if account is None:
        await users.insert(tx, user, record)
    else:
        change = UserChange(enabled=True, password_hash=record)
        user = await users.update(tx, account.user.id, change)
    for role in wanted:
        await roles.ensure(tx, role)
        here = await roles.named(tx, role.name) or role
        await grants.add(tx, user.id, Place(ScopeKind.PROJECT, project.id), here.id)
        if role.name in system:
            await grants.add(tx, user.id, SYSTEM, here.id)
