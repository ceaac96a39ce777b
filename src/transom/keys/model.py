# SPDX-License-Identifier: Apache-2.0
"""The nouns of keys. What is sealed stays sealed in them."""

from dataclasses import dataclass

KEY_BYTES = 32
"""Of a party's long-term key, of a group's, and of the authority's."""


@dataclass(frozen=True, slots=True)
class PartyKey:
    """One generation of a party's long-term key.

    `used_ms`: when the party first signed with it; `until_ms`: from when on it is worth nothing.
    None: not yet.
    """

    generation: int
    sealed: bytes
    created_ms: int
    used_ms: int | None = None
    until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Party:
    """`keys`: those that are kept, the newest first; a party may have none, but a certificate."""

    name: str
    created_ms: int
    keys: tuple[PartyKey, ...]

    @property
    def newest(self) -> PartyKey | None:
        """The one without an end."""
        return next((key for key in self.keys if key.until_ms is None), None)


@dataclass(frozen=True, slots=True)
class Group:
    """`name`: of a group, or the beginning of groups' names and `*`. `members`: names of parties,
    or beginnings of them and `*`; who is in a group by its own name is not among them.
    """

    name: str
    created_ms: int
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupKey:
    """One generation of a group's key. `expires_ms`: nothing is sealed under it from then on.

    `made_by`: the party that brought a group to be which only a pattern fits, or "".
    """

    generation: int
    sealed: bytes
    created_ms: int
    expires_ms: int
    made_by: str = ""


@dataclass(frozen=True, slots=True)
class Authority:
    """One of the server's own key pairs, under which certificates are signed.

    `sealed`: the private one. `until_ms`: when the last certificate that it signed ends; None while
    it signs.
    """

    public_key: bytes
    sealed: bytes
    created_ms: int
    until_ms: int | None = None
