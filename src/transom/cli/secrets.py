# SPDX-License-Identifier: Apache-2.0
"""`transom secrets rotate`: another master key, and everything sealed again under it."""

import os
from argparse import Namespace

from transom.cli.settings import Settings
from transom.runtime.sealing import rotate as rotate_folder


def rotate(options: Namespace) -> int:
    """While Transom runs, too: its processes have what they opened at their start."""
    settings = Settings.of(options)
    settings.data.require()
    rotate_folder(settings.data.keys, settings.master_keys, os.urandom, print)
    return 0
