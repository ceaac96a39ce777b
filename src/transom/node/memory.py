# SPDX-License-Identifier: Apache-2.0
"""The memory that a process takes: its proportional share (PSS), so a sum counts pages once."""

import os
from pathlib import Path


def memory_mib(pid: int) -> float:
    """PSS of the process in MiB; its resident size where PSS may not be read; 0 if it is gone."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass  # another user's process, an older kernel, or gone: the next file tells
    try:
        resident_pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return resident_pages * os.sysconf("SC_PAGE_SIZE") / 1024**2
