# SPDX-License-Identifier: Apache-2.0
"""How deep a JSON text is nested, before anything decodes it.

Invariant: the cost is that of a few passes over the text in C, whatever it holds; two counts
where there are few brackets.
"""

import re
from itertools import accumulate

DEPTH_MOST = 64

_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""Also one that never ends: looked for its end from each quote in it, it would cost its square."""
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_OTHERS = bytes(byte for byte in range(256) if byte not in b"[]{}")


def is_too_deep(content: bytes, most: int = DEPTH_MOST) -> bool:
    """Whether arrays and objects are nested more than `most` deep, as far as it is JSON."""
    if content.count(b"[") + content.count(b"{") <= most:
        return False
    steps = _STRINGS.sub(b"", content).translate(_STEPS, _OTHERS)
    return max(accumulate(memoryview(steps).cast("b")), default=0) > most
