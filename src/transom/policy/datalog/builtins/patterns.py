# SPDX-License-Identifier: Apache-2.0
"""Regular expressions, of a kind that cannot hang: RE2, which takes time linear in the text.

It has no back-references and no look-around, which are what makes others exponential. What is left
is bounded too: a pattern's length, the memory for its automaton, and the work for one text.

Invariants:
1. A pattern is compiled once, and one that cannot be is refused once: both are remembered.
2. The library is loaded with the first pattern, not with the language.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from transom.policy.datalog.builtins.arguments import BuiltinError, shown

if TYPE_CHECKING:
    import re2

PATTERN_CHARACTERS_MOST: Final = 1000
PATTERNS_KEPT: Final = 128
MEMORY_BYTES: Final = 512 * 1024
"""For one pattern, so at most 64 MiB for all that are kept."""
STEPS_MOST: Final = 10_000_000
"""States of the automaton times bytes of the text: some ten milliseconds at the very worst."""


def search(name: str, pattern: str, text: str, *, ignore_case: bool = False) -> bool:
    """Whether the pattern is found anywhere in the text. Raises: BuiltinError."""
    if len(pattern) > PATTERN_CHARACTERS_MOST:
        raise BuiltinError(
            f"{name}: a pattern of {len(pattern)} characters; the most are "
            f"{PATTERN_CHARACTERS_MOST}"
        )
    expression = _compiled(pattern, ignore_case)
    if isinstance(expression, str):
        raise BuiltinError(f"{name}: {shown(pattern)} is no regular expression: {expression}")
    encoded = _encoded(name, text)
    if expression.programsize * len(encoded) > STEPS_MOST:
        raise BuiltinError(
            f"{name}: a text of {len(text)} characters is too long for so big a pattern"
        )
    return expression.search(encoded) is not None


def _encoded(name: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise BuiltinError(f"{name}: the text has half a character (a lone surrogate)") from None


@lru_cache(PATTERNS_KEPT)
def _compiled(pattern: str, ignore_case: bool) -> "re2._Regexp | str":
    """The automaton, or why there is none."""
    import re2

    options = re2.Options()
    options.case_sensitive = not ignore_case
    options.log_errors = False
    options.max_mem = MEMORY_BYTES
    options.never_capture = True
    try:
        return re2.compile(pattern.encode(), options)
    except UnicodeEncodeError:
        return "it has half a character (a lone surrogate)"
    except re2.error as error:
        reason = error.args[0]
        return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
