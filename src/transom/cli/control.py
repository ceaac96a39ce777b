# SPDX-License-Identifier: Apache-2.0
"""`transom status` and `transom down`: ask the family that runs on a data folder."""

import json
from argparse import Namespace

from transom.node import remote
from transom.node.folder import DataFolder

STOP_S = 90.0


def status(options: Namespace) -> int:
    """Exit status 0: all ready; 3: runs, but not all is ready; 1: does not run."""
    found = remote.status(DataFolder(options.data_dir))
    if options.json:
        print(json.dumps(found))
        return 0
    print(f"{found['url']}  {found['memory_mib']:.0f} MiB  pid {found['pid']}")
    print(f"{'role':<12}{'state':<10}{'pid':>8}{'MiB':>8}{'restarts':>10}")
    for role in found["roles"]:
        print(
            f"{role['name']:<12}{role['state']:<10}{role['pid'] or '-':>8}"
            f"{role['memory_mib']:>8.1f}{role['restarts']:>10}"
        )
        if problem := role.get("problem"):
            print(f"  {problem}")
    return 0 if found["ready"] else 3


def down(options: Namespace) -> int:
    remote.stop(DataFolder(options.data_dir), timeout_s=STOP_S)
    print("stopped; nothing that was acknowledged is lost")
    return 0
