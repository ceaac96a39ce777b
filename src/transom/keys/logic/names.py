# SPDX-License-Identifier: Apache-2.0
"""Names of parties and groups as an admin writes them, and the searches that follow from a name.

What a name and a pattern are, and who belongs to whom, is said in `messaging.security.names`.
"""

from collections.abc import Iterable, Iterator

from transom.errors import BadRequest
from transom.messaging.security.names import is_name, is_pattern

SPLITS_MOST = 8
_TOLD = "of letters, digits and _ . : @ -, the first one no sign but _; at most 255"


def check_party(name: str) -> str:
    """The name. Raises: BadRequest."""
    topic, _, server = name.partition(".")
    if not (is_name(name) and topic and server):
        raise BadRequest(f"A party is called TOPIC.SERVER, {_TOLD}.")
    return name


def check_pattern(pattern: str) -> str:
    """The pattern. Raises: BadRequest."""
    if not is_pattern(pattern):
        raise BadRequest(
            f"This takes a name, or the beginning of names (or nothing) and *, {_TOLD}."
        )
    return pattern


def patterns_for(name: str) -> list[str]:
    """Every pattern that fits the name: itself, and each beginning of it with a `*`."""
    return [name, *(f"{name[:length]}*" for length in range(len(name) + 1))]


def names_of(pattern: str) -> tuple[str, str]:
    """The half-open range, by bytes, of the names that the pattern fits."""
    if pattern == "*":
        return "", "\x7f"  # names are ASCII
    if pattern.endswith("*"):
        return pattern[:-1], pattern[:-2] + chr(ord(pattern[-2]) + 1)
    return pattern, f"{pattern}!"  # which is in no name, and before all that is


def own_of(group: str) -> str:
    """The pattern of those who are in the group by their names."""
    return f"{group}.*"


def fits_any(name: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns fits the name."""
    return any(
        name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
        for pattern in patterns
    )


def splits(destination: str) -> Iterator[tuple[str, str]]:
    """Each (topic, server) that the destination may mean, since either may have dots.

    Of one with more dots than `SPLITS_MOST` the first ones only.
    """
    at = 0
    for _ in range(SPLITS_MOST):
        at = destination.find(".", at + 1)
        if at < 0:
            return
        yield destination[:at], destination[at + 1 :]
