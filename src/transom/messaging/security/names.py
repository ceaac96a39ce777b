# SPDX-License-Identifier: Apache-2.0
"""Names of parties and groups, and who belongs to whom.

A party is one process's identity, named `<topic>.<server>`; a group is a topic. A party belongs to
the group that its name begins with, and to those that its patterns name: a topic, or the beginning
of topics followed by `*`. Patterns are given by the admin, in the key server or in a certificate.
"""

import re
from collections.abc import Iterable

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@-]{0,254}")
PATTERN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@-]{0,254}\*?|\*")


def is_name(text: str) -> bool:
    """Whether a party or a group can have this name."""
    return NAME.fullmatch(text) is not None


def is_pattern(text: str) -> bool:
    """Whether it names groups: a name, or the beginning of names and `*`."""
    return PATTERN.fullmatch(text) is not None


def is_member(name: str, patterns: Iterable[str], group: str) -> bool:
    """Whether the party `name` with these patterns belongs to `group`."""
    return name.startswith(group + ".") or any(_fits(pattern, group) for pattern in patterns)


def serves(name: str, patterns: Iterable[str], topic: str, server: str) -> bool:
    """Whether the party is the server `server` of `topic`.

    It is where its name is `<topic>.<server>`, and where it is `<anything>.<server>` and belongs
    to the group `topic`: one process serves several topics under one name.
    """
    if name == f"{topic}.{server}":
        return True
    return name.endswith("." + server) and is_member(name, patterns, topic)


def _fits(pattern: str, group: str) -> bool:
    if pattern.endswith("*"):
        return group.startswith(pattern[:-1])
    return group == pattern
