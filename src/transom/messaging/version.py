# SPDX-License-Identifier: Apache-2.0
"""Versions of interfaces: "major.minor" or "major.minor.revision".

`compatible(served, asked)`: the same major, the asked minor at most the served one, and where the
minors are equal the asked revision at most the served one. Source: oslo.messaging.
"""

import re
from functools import lru_cache

Version = tuple[int, int, int]

_FORM = re.compile(r"([0-9]{1,6})\.([0-9]{1,6})(?:\.([0-9]{1,6}))?", re.ASCII)


@lru_cache(256)
def parse_version(text: str) -> Version:
    """Raises: ValueError."""
    form = _FORM.fullmatch(text)
    if form is None:
        raise ValueError(f"{text[:40]!r} is no version; write major.minor or major.minor.revision")
    return int(form[1]), int(form[2]), int(form[3] or 0)


def compatible(served: Version, asked: Version) -> bool:
    """Whether who serves `served` can carry out what asks for `asked`."""
    if served[0] != asked[0] or asked[1] > served[1]:
        return False
    return asked[1] < served[1] or asked[2] <= served[2]
