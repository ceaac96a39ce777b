# SPDX-License-Identifier: Apache-2.0
"""`transom up`: in the foreground with a page that says how to use it, or detached.

Detached: the same command in a session of its own, whose output we pass on until it closes it.
When it is ready the last line is `READY`, which is not shown; without that line it has failed, and
we end with its status. The output is a pipe that only that process holds, so no role can keep it
open.

Invariant: what is printed to somebody who has left is lost, and stops nothing.
"""

import asyncio
import os
import shlex
import shutil
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import IO, Any, TextIO

import uvloop

from transom.cli import default_data_folder
from transom.cli.database_url import FROM_INPUT, given_url
from transom.cli.family import Family, Wish, check_descriptors
from transom.cli.settings import DatabaseConfig, KeystoneConfig, Settings
from transom.node.supervisor import RoleStatus
from transom.runtime.db.address import shown
from transom.runtime.secrets import Secret

CHILD = "TRANSOM_DETACHED"
READY = "\x06"
FAILED_WAIT_S = 60.0


def up(options: Namespace) -> int:
    settings = Settings.of(options)  # a faulty configuration is told here, before anything starts
    database = _database(options, settings)
    check_descriptors()
    if options.detach and CHILD not in os.environ:
        return _detached(database)
    began_s = float(os.environ.get(CHILD) or _process_began_s())
    if options.detach:
        sys.stdout = sys.stderr = _own_output()
    terminal = _Terminal(settings, began_s, detached=options.detach)
    wish = Wish(options.host, options.port, options.single_process, database)
    family = Family(settings, wish, terminal, os.environ)

    async def serve() -> None:
        await family.serve()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
    terminal.ended()
    return 0 if terminal.was_ready or not options.detach else 1


def _database(options: Namespace, settings: Settings) -> Secret:
    """What `--database` says, or nothing. Raises: ConfigError."""
    return given_url(options.database, settings.config.section(DatabaseConfig).url)


def _detached(database: Secret) -> int:
    url = database.reveal()
    # Invariant: the address is in no argument of a process but the one that a person has given.
    arguments = [_without(argument, url) for argument in sys.argv[1:]]
    child = subprocess.Popen(  # noqa: S603 our own command again
        [sys.executable, "-m", "transom.cli", *arguments],
        env={**os.environ, CHILD: str(_process_began_s())},
        stdin=subprocess.PIPE if url else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    if child.stdin is not None:
        with child.stdin as line:
            line.write(f"{url}\n".encode())
    assert child.stdout is not None
    with child.stdout as output:
        try:
            ready = _pass_on(output)
        except KeyboardInterrupt:
            child.terminate()  # it drains, and says so
            _pass_on(output)
            return 130
    if ready:
        child.returncode = 0  # it goes on, and is not ours to wait for
        return 0
    status = child.wait(FAILED_WAIT_S)
    return status if status >= 0 else 128 - status


def _without(argument: str, url: str) -> str:
    if url and argument.endswith(url) and argument.removesuffix(url)[-1:] in ("", "="):
        return argument.removesuffix(url) + FROM_INPUT
    return argument


def _pass_on(output: IO[bytes]) -> bool:
    """True if it ended with `READY`."""
    for line in output:
        if line == f"{READY}\n".encode():
            return True
        try:
            sys.stdout.buffer.write(line)
            sys.stdout.flush()
        except OSError:
            _lead_nowhere(1)
    return False


def _own_output() -> TextIO:
    """What was standard output, for this process alone; its children inherit none."""
    own = os.fdopen(os.dup(1), "w", buffering=1, errors="backslashreplace")
    _lead_nowhere(1, 2)
    return own


def _lead_nowhere(*descriptors: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor, inheritable=descriptor in (1, 2))
    os.close(nowhere)


def _process_began_s() -> float:
    """When this process was started, interpreter and imports included, on the boot-time clock."""
    after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return int(after_name[19]) / os.sysconf("SC_CLK_TCK")


class _Terminal:
    """What the person who started it sees."""

    def __init__(self, settings: Settings, began_s: float, *, detached: bool) -> None:
        self._settings = settings
        self._began_s = began_s
        self._detached = detached
        self.was_ready = False

    def ready(self, url: str, status: dict[str, Any]) -> None:
        took_s = time.clock_gettime(time.CLOCK_BOOTTIME) - self._began_s
        _say(page(self._settings, url, status, took_s, detached=self._detached))
        self.was_ready = True
        if self._detached:
            _say(READY)
            _lead_nowhere(sys.stdout.fileno())

    def changed(self, role: RoleStatus) -> None:
        if self.was_ready:
            why = f": {role.problem}" if role.problem else ""
            _say(f"  {role.name} is {role.state}{why}")

    def waiting(self) -> None:
        _say("waiting for the processes of a killed Transom to end ...")

    def ended(self) -> None:
        _say("stopped; nothing that was acknowledged is lost")


def _say(text: str) -> None:
    try:
        print(text, flush=True)
    except OSError:  # Safety: see the module; the roles matter more than who reads of them
        _lead_nowhere(sys.stdout.fileno())


def page(
    settings: Settings, url: str, status: dict[str, Any], took_s: float, *, detached: bool
) -> str:
    """One screen: where it is, the lines to paste, where things are kept."""
    folder = settings.data.path
    usual = folder == Path(default_data_folder()).absolute()
    chosen = "" if usual else f" --data-dir {shlex.quote(str(folder))}"
    ours = Path(sys.executable).with_name("transom")
    transom = "transom" if shutil.which("transom") else shlex.quote(str(ours))
    stop = f"{transom} down{chosen}" if detached else "Ctrl-C"
    keystone = settings.config.section(KeystoneConfig).auth_url
    url_of_data = settings.database_url
    paste = [
        "  Paste this, then use your own client:",
        f"    export OS_CLIENT_CONFIG_FILE={shlex.quote(str(settings.data.clouds_file))}",
        "    export OS_CLOUD=transom OS_MESSAGE_CLIENT_ID=$(cat /proc/sys/kernel/random/uuid)",
        "    openstack messaging queue create first",
        "",
    ]
    lines = [
        f"Transom is ready in {took_s:.1f} s: {url}  ({status['memory_mib']:.0f} MiB)",
        "",
        *([] if keystone else paste),
        f"  queue     {url}/queue      identity  {keystone or url + '/identity'}",
        f"  data      {folder}",
        *([f"  database  {shown(url_of_data.reveal())}"] if url_of_data else []),
        f"  logs      {settings.data.logs}",
        f"  watch     {transom} tables watch queue:queues{chosen}",
        f"  stop      {stop}",
    ]
    return "\n".join(lines)
