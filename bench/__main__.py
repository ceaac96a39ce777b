# SPDX-License-Identifier: Apache-2.0
"""Runs every claim's file, one after the other."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def claims() -> list[Path]:
    """Files below a part's folder that can be run by themselves."""
    found = sorted(HERE.glob("*/*.py"))
    return [path for path in found if '__name__ == "__main__"' in path.read_text()]


def main() -> int:
    failed = 0
    for path in claims():
        name = path.relative_to(HERE.parent).with_suffix("")
        print(f"== {name}", flush=True)
        done = subprocess.run([sys.executable, "-m", ".".join(name.parts)], cwd=HERE.parent)
        failed += done.returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
