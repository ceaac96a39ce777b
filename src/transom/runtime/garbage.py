# SPDX-License-Identifier: Apache-2.0
"""Garbage collection kept away from large data that lives long.

Python's collector visits every object that can hold others, and the longest of its visits stop the
process for as long as there are many: two thirds of a second with a million rows. Rows and indexes
are freed by counting references; nothing in them is ever found by the collector.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Around what loads such data: no visit meanwhile, and none to any of it afterwards.

    What is garbage in cycles at its end stays for good, so it is not for what happens often.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if was_enabled:
            gc.enable()
