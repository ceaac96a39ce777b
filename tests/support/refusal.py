# SPDX-License-Identifier: Apache-2.0
"""A command that refuses says so in one line, and a folder that is refused stays as it was."""

from pathlib import Path

from support.stack import Stack


def refused(stack: Stack, *arguments: str) -> str:
    """The one line, without the program's name. The command ends with 1 and prints nothing else."""
    done = stack.transom(*arguments, check=False)
    said = f"{done.returncode}\n{done.stdout}{done.stderr}"
    assert done.returncode == 1, said
    assert done.stdout == "", said
    assert done.stderr.count("\n") == 1, said
    name, _, line = done.stderr.strip().partition(": ")
    assert name == "transom", said
    return line


def listing(path: Path) -> dict[str, tuple[int, int, bytes]]:
    """Name -> mode, time of change and content."""
    return {
        str(entry.relative_to(path)): (
            entry.lstat().st_mode,
            entry.lstat().st_mtime_ns,
            entry.read_bytes() if entry.is_file() else b"",
        )
        for entry in sorted(path.rglob("*"))
    }
