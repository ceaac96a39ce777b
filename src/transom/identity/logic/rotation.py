# SPDX-License-Identifier: Apache-2.0
"""Which keys of tokens nobody needs any more."""

from collections.abc import Mapping
from itertools import pairwise

from transom.identity.logic.validity import EXPIRED_WINDOW_S
from transom.identity.model import TOKEN_TTL_MOST_S

KEPT_S = TOKEN_TTL_MOST_S + EXPIRED_WINDOW_S
"""How long a key that seals no more is kept: until the last token of it could be asked for."""


def ended(made_s: Mapping[int, float], now_s: float) -> list[int]:
    """The numbers of keys to remove. `made_s`: number -> when that key was made.

    A key seals until the next one is made; the newest is never removed.
    """
    numbers = sorted(made_s)
    return [
        number for number, following in pairwise(numbers) if now_s - made_s[following] >= KEPT_S
    ]
