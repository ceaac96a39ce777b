# SPDX-License-Identifier: Apache-2.0
"""Which generation of a key is used when.

| a party's key  | signs requests | tickets to the party are sealed under it        |
|----------------|----------------|-------------------------------------------------|
| only one       | yes            | yes                                             |
| newest, unused | yes            | no, as long as a used one is in its overlap     |
| newest, used   | yes            | yes                                             |
| former         | in its overlap | in its overlap, until a newer one has been used |

| a group's key | tickets are sealed under it  | given to members                           |
|---------------|------------------------------|--------------------------------------------|
| young         | yes                          | yes                                        |
| about to end  | no, the next one is made     | by its generation                          |
| ended         | no                           | by its generation, for grace and retention |
"""

from typing import TYPE_CHECKING

from transom.keys.model import GroupKey, Party, PartyKey

if TYPE_CHECKING:
    from transom.keys.config import KeysConfig


def next_generation(latest: int, now_ms: int) -> int:
    """A number that was never used: after a removal or a restore `latest` may not tell."""
    return max(latest + 1, now_ms)


def accepted(party: Party, now_ms: int) -> list[PartyKey]:
    """Those that the party may sign with, the newest first."""
    return [key for key in party.keys if key.until_ms is None or now_ms < key.until_ms]


def for_tickets(party: Party, now_ms: int) -> PartyKey | None:
    """The one that the party surely has: the newest that it has used, or else the newest.

    None: the party has no long-term key.
    """
    known = accepted(party, now_ms)
    used = (key for key in known if key.used_ms is not None)
    return next(used, known[0] if known else None)


def is_current(key: GroupKey | None, now_ms: int, config: "KeysConfig") -> bool:
    """Whether tickets may be sealed under the group's newest key; else the next is to be made."""
    return key is not None and key.expires_ms > needed_ms(now_ms, config)


def needed_ms(now_ms: int, config: "KeysConfig") -> int:
    """A key of a group that is used now ends after this."""
    return now_ms + config.group_key_early_s * 1000


def forgotten_ms(expires_ms: int, config: "KeysConfig") -> int:
    """From when on a group's key that ended then is given to nobody."""
    return expires_ms + (config.group_key_grace_s + config.retention_s) * 1000


def ended_before_ms(now_ms: int, config: "KeysConfig") -> int:
    """A group's key that ended by then is given to nobody now."""
    return now_ms - (config.group_key_grace_s + config.retention_s) * 1000


def kept_ms(config: "KeysConfig") -> int:
    """How long after its end a party may need a key to open what was sent to it."""
    return (config.ticket_ttl_s + config.retention_s) * 1000
