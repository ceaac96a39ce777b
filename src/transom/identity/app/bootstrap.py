# SPDX-License-Identifier: Apache-2.0
"""The first users, and the files that say how to sign in as them.

On a fresh data folder there come to be the roles, `admin` with all but the service's role on the
project `admin` and with `admin` and `reader` on the system, and the service user on its project.

Invariants:
1. One process at a time does this, held apart by a lock in the folder of the keys.
2. The database has a password's hash before a file has the password. Where a file is missing, be it
   deleted or never written for a crash, there is a new password, and the old tokens are void. The
   service's is made anew too where it does not fit, as after one of both came from a backup, and
   where it is not stored as one that was drawn: guesses would slow it down.
3. A file that says what it should is not touched; a changed address keeps the password.
"""

import asyncio
import fcntl
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from transom.errors import Unavailable
from transom.identity.app.seeds import Seeds
from transom.identity.contract import SERVICE_PASSWORD_FILE, SERVICE_PROJECT, SERVICE_USER
from transom.identity.logic import clouds
from transom.identity.logic.password import is_drawn
from transom.identity.model import DEFAULT_DOMAIN, Reference
from transom.identity.store import roles, users
from transom.runtime.clock import Clock
from transom.runtime.db.transaction import Transaction
from transom.runtime.sealing import SealBroken, Sealer
from transom.runtime.secrets import new_password, read_private, write_private

log = logging.getLogger(__name__)
ADMIN = "admin"
ADMIN_ROLES = ("admin", "member", "reader")
ADMIN_SYSTEM_ROLES = ("admin", "reader")
SERVICE_ROLES = ("service",)
LOCK_WAIT_S = 30.0
_LOCK_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """`data`: the data folder. `keys`: the private folder inside it."""

    seeds: Seeds
    clock: Clock
    data: Path
    keys: Path
    sealer: Sealer
    access: clouds.Access

    async def ensure(self) -> None:
        """Makes what is missing. Raises: ConfigError, Unavailable, and what storage raises."""
        async with _alone(self.keys / "bootstrap.lock", self.clock):
            fresh = await self.seeds.writes.database.read(_is_fresh)
            text = _read(self.data / "clouds.yaml")
            password = clouds.password_in(text)
            if fresh or not password:
                drawn = not password
                password = password or new_password(self.seeds.random).reveal()
                await self._set_admin_password(password, drawn=drawn)
            self._write_access(text, password)
            secret = self._service_password()
            if not fresh and not await self._serves(secret):
                secret = ""
            if fresh or not secret:
                secret = secret or new_password(self.seeds.random).reveal()
                names = (SERVICE_USER, SERVICE_PROJECT, SERVICE_ROLES)
                await self.seeds.sow(*names, secret, drawn=True)
                self.sealer.write(self.keys / SERVICE_PASSWORD_FILE, secret.encode())

    async def reset_admin_password(self) -> None:
        """A new password, in the files; all tokens of `admin` are void.

        Makes `admin` anew, or enables it, where somebody has deleted or disabled it.
        """
        async with _alone(self.keys / "bootstrap.lock", self.clock):
            text = _read(self.data / "clouds.yaml")
            password = new_password(self.seeds.random).reveal()
            await self._set_admin_password(password, drawn=True)
            self._write_access(text, password)

    async def _set_admin_password(self, password: str, *, drawn: bool) -> None:
        system = ADMIN_SYSTEM_ROLES
        await self.seeds.sow(ADMIN, ADMIN, ADMIN_ROLES, password, drawn=drawn, system=system)
        log.info("password of admin set", extra={"file": str(self.data / "clouds.yaml")})

    def _write_access(self, text: str, password: str) -> None:
        if not clouds.is_current(text, self.access, password):
            merged = clouds.merged(text, self.access, password)
            write_private(self.data / "clouds.yaml", merged.encode())
        lines = clouds.openrc(self.access, password)
        if _read(self.data / "openrc") != lines:
            write_private(self.data / "openrc", lines.encode())

    def _service_password(self) -> str:
        """That of the file, or "" if it holds none. Raises: ConfigError."""
        try:
            return self.sealer.read(self.keys / SERVICE_PASSWORD_FILE).decode().strip()
        except (FileNotFoundError, SealBroken, UnicodeDecodeError):
            return ""

    async def _serves(self, secret: str) -> bool:
        """Whether it is the service user's password; if an admin has removed that user, yes."""
        who = Reference(name=SERVICE_USER, domain_id=DEFAULT_DOMAIN.id)
        account = await self.seeds.writes.database.read(lambda tx: users.find(tx, who))
        if account is None:
            return True
        record = account.password_hash
        return is_drawn(record) and await self.seeds.passwords.fits(secret, record)


async def _is_fresh(tx: Transaction) -> bool:
    return await roles.named(tx, ADMIN_ROLES[0]) is None


def _read(path: Path) -> str:
    """The text, or "" if there is no such file. Raises: ConfigError if others may read it."""
    try:
        return read_private(path).decode(errors="replace")
    except FileNotFoundError:
        return ""


@asynccontextmanager
async def _alone(path: Path, clock: Clock) -> AsyncIterator[None]:
    """Raises: Unavailable if another process holds the lock for too long."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline_s = clock.monotonic_s() + LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if clock.monotonic_s() >= deadline_s:
                    raise Unavailable(f"{path}: another process holds it; end it") from None
            await asyncio.sleep(_LOCK_POLL_S)
        yield
    finally:
        os.close(handle)
