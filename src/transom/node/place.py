# SPDX-License-Identifier: Apache-2.0
"""Where a process runs, in a word that no process elsewhere has: for leases that hosts share.

Two families of one database may be on two hosts, or in two folders or containers of one, and their
processes have the same names and numbers.
"""

import hashlib
import socket
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def place_of(folder: Path) -> str:
    """Of the family whose data folder this is, until the host is started anew."""
    found = folder.stat()
    parts = (socket.gethostname(), _BOOT_ID.read_text(), found.st_dev, found.st_ino)
    return f"{parts[0]}.{hashlib.sha256(repr(parts).encode()).hexdigest()[:12]}"
