# SPDX-License-Identifier: Apache-2.0
"""Places for a stack where something is amiss: a small disk, another boot, a wrong wall clock.

The first two need root and `unshare`; nothing of them outlives the context that made them.
"""

import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.stack import START_S, Stack, wait_for


class Placed(Stack):
    """A stack whose commands run behind `prefix`. `seen`: its data folder as we see it."""

    def __init__(
        self,
        data: Path,
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        seen: Path | None = None,
    ) -> None:
        super().__init__(seen or data, environment)
        self.place = data
        self.prefix = tuple(prefix)

    def transom(
        self, *arguments: str, check: bool = True, timeout_s: float = START_S
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.prefix, sys.executable, "-m", "transom.cli", *arguments,
             "--data-dir", str(self.place)],
            env=self.environment, capture_output=True, text=True, check=check, timeout=timeout_s,
        )  # fmt: skip


class SmallDisk:
    """A tmpfs at `path`, in a mount namespace of its own that `holder` keeps."""

    def __init__(self, path: Path, holder: int) -> None:
        self.path = path
        self.seen = Path(f"/proc/{holder}/root{path}")
        self.prefix = ("nsenter", "-m", "-t", str(holder))

    def stack(self, name: str = "data") -> Placed:
        return Placed(self.path / name, self.prefix, seen=self.seen / name)

    def mount(self, options: str) -> None:
        subprocess.run([*self.prefix, "mount", "-o", options, str(self.path)], check=True)

    def fill(self) -> None:
        """Until not one byte more fits."""
        with (self.seen / "filler").open("ab", buffering=0) as file:
            for size in (65536, 4096, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue

    def free(self) -> None:
        (self.seen / "filler").unlink()


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[SmallDisk]:
    path.mkdir()
    script = 'mount -t tmpfs -o size="$1" tmpfs "$0" && echo mounted && exec sleep 600'
    with subprocess.Popen(
        ["unshare", "-m", "sh", "-c", script, str(path), size], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        try:
            assert holder.stdout.readline() == "mounted\n"
            yield SmallDisk(path, holder.pid)
        finally:
            holder.kill()


def after_boot(seconds: int) -> tuple[str, ...]:
    """What runs behind this finds the machine up for so much longer than it is."""
    return ("unshare", "-T", "--boottime", str(seconds), "--monotonic", str(seconds))


class WallClock:
    """Processes that have its `environment` see the wall clock that `move` sets, at once."""

    SOURCE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
static const long *moved_s;
static int (*real)(clockid_t, struct timespec *);
__attribute__((constructor)) static void begin(void) {
  real = dlsym(RTLD_NEXT, "clock_gettime");
  moved_s = mmap(0, sizeof *moved_s, PROT_READ, MAP_SHARED, open(getenv("MOVED"), O_RDONLY), 0);
}
int clock_gettime(clockid_t clock, struct timespec *now) {
  int failed = real(clock, now);
  if (!failed && clock == CLOCK_REALTIME) now->tv_sec += *moved_s;
  return failed;
}
time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}
"""

    def __init__(self, folder: Path) -> None:
        self._moved = folder / "moved"
        self.move(0)
        shim = folder / "wallclock.so"
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-xc", "-", "-o", str(shim)],
            input=self.SOURCE, text=True, check=True,
        )  # fmt: skip
        self.environment = {"LD_PRELOAD": str(shim), "MOVED": str(self._moved)}

    def move(self, seconds: int) -> None:
        """So far from the true time."""
        handle = os.open(self._moved, os.O_RDWR | os.O_CREAT, 0o600)
        os.pwrite(handle, struct.pack("=q", seconds), 0)
        os.close(handle)


def kill_all(stack: Stack) -> None:
    """All processes of the family at once, as when the power goes."""
    pids = [role["pid"] for role in stack.status()["roles"]]
    for pid in pids:
        os.kill(pid, 9)
    wait_for(lambda: not any(_lives(pid) for pid in pids))


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
