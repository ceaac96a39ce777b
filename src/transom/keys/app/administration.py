# SPDX-License-Identifier: Apache-2.0
"""What admins do over HTTP: each method begins with its access rule."""

from collections.abc import Sequence
from dataclasses import dataclass

from transom.keys.app.custody import Custody
from transom.keys.model import Group, Party
from transom.runtime.auth.context import Context
from transom.runtime.auth.rules import Rules


@dataclass(frozen=True, slots=True)
class Administration:
    """All methods raise Forbidden, and what those of `Custody` raise."""

    custody: Custody
    rules: Rules

    async def parties(self, context: Context, after: str, limit: int) -> list[Party]:
        self.rules.enforce("keys:list", context)
        return await self.custody.parties(after, limit)

    async def party(self, context: Context, name: str) -> Party:
        self.rules.enforce("keys:get", context)
        return await self.custody.party(name)

    async def put_party(
        self, context: Context, name: str, key: bytes, *, at_once: bool
    ) -> tuple[int, bool]:
        self.rules.enforce("keys:set", context)
        return await self.custody.put(name, key, at_once=at_once)

    async def remove_party(self, context: Context, name: str) -> None:
        self.rules.enforce("keys:delete", context)
        await self.custody.remove(name)

    async def groups(self, context: Context, after: str, limit: int) -> list[Group]:
        self.rules.enforce("groups:list", context)
        return await self.custody.groups(after, limit)

    async def group(self, context: Context, name: str) -> Group:
        self.rules.enforce("groups:get", context)
        return await self.custody.group(name)

    async def put_group(self, context: Context, name: str, members: Sequence[str]) -> bool:
        self.rules.enforce("groups:set", context)
        return await self.custody.put_group(name, members)

    async def remove_group(self, context: Context, name: str) -> None:
        self.rules.enforce("groups:delete", context)
        await self.custody.remove_group(name)
