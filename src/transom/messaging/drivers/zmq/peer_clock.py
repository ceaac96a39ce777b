# SPDX-License-Identifier: Apache-2.0
"""How far our monotonic clock is ahead of that of a peer on another host.

Each frame says what the peer's clock showed when it was written. The quickest frame tells the
difference best: what the others show more is time that they spent on the way, and that a deadline
must not be given back. So a message that waited in the buffers of a stopped process is known to be
late, as it is on one machine.

Pure: no clock of its own.
"""

import math

DRIFT = 0.0005
"""More than two clocks that run free ever drift apart, in seconds a second."""


class PeerClock:
    """Of one connection: a peer that was suspended connects anew."""

    def __init__(self) -> None:
        self._ahead_s = math.inf
        self._at_s = 0.0

    def ahead_s(self, theirs_s: float, ours_s: float) -> float:
        """Ours less theirs, at the least delay seen; a time of theirs plus this is one of ours.

        `theirs_s`: when a frame was written, `ours_s`: when it was read.
        """
        drifted_s = self._ahead_s + DRIFT * (ours_s - self._at_s)
        self._ahead_s = min(ours_s - theirs_s, drifted_s)
        self._at_s = ours_s
        return self._ahead_s
