# SPDX-License-Identifier: Apache-2.0
"""Who may delete a message: the table of the claim and delete race.

| message        | no claim named | a claim named                                         |
|----------------|----------------|-------------------------------------------------------|
| gone, expired  | done           | done                                                  |
| not claimed    | deleted        | NotClaimed: the work was late, the message stays      |
| held by it     | -              | deleted                                               |
| held by others | MessageClaimed | MessageClaimed; ClaimUnknown if the named is not live |

The deletion itself is one conditional statement of the store; this table says, for a message that
the statement did not touch, why.
"""

from dataclasses import dataclass

from transom.errors import CallerError
from transom.queue.model import ClaimUnknown, MessageClaimed, NotClaimed


@dataclass(frozen=True, slots=True)
class Standing:
    """What was found where the deletion touched nothing.

    `exists`: unexpired; `held`: by a live claim; `claim_named`: in the request; `claim_alive`:
    the named one.
    """

    exists: bool
    held: bool
    claim_named: bool
    claim_alive: bool


def refusal(standing: Standing) -> CallerError | None:
    """Why the message stays, or None if there was nothing to delete."""
    if not standing.exists:
        return None
    if not standing.claim_named:
        return MessageClaimed("A live claim holds the message; name it in claim_id.")
    if not standing.held:
        return NotClaimed(
            "The message is not currently claimed: the claim has ended, and the message stays."
        )
    if not standing.claim_alive:
        return ClaimUnknown("The claim does not exist or has expired; another one holds it.")
    return MessageClaimed("Another live claim holds the message.")
