# SPDX-License-Identifier: Apache-2.0
"""Which database a data folder belongs to, so that no later command starts on an empty other one.

`transom up --database URL` is remembered in the folder, 0600. An address that comes from the
configuration is remembered without its password.

Invariant: a command that is told of no database takes the remembered one, or refuses for want of
its password; never the files of a folder whose data are on a server, nor a server for a folder
whose data are in files.
"""

import sys
from pathlib import Path

from transom.errors import ConfigError
from transom.runtime.db.address import check_address, has_password, shown, without_password
from transom.runtime.secrets import Secret, read_private, write_private

FILE_NAME = "database.url"
FROM_INPUT = "-"


def database_url(folder: Path, configured: Secret) -> Secret:
    """Empty: the data are in files of the folder. Raises: ConfigError."""
    if configured:
        return configured
    try:
        remembered = read_private(folder / FILE_NAME).decode().strip()
    except FileNotFoundError:
        return configured
    check_address(remembered)
    return Secret(remembered)


def remember(folder: Path, configured: Secret, given: Secret) -> None:
    """`given`: on the command line. Raises: ConfigError, OSError."""
    url = given or configured
    if url:
        refuse_files(folder, url)
        kept = url.reveal() if given else without_password(url.reveal())
        write_private(folder / FILE_NAME, f"{kept}\n".encode())


def given_url(said: str | None, configured: Secret) -> Secret:
    """What `--database` says, or nothing; `-`: a line of standard input. Raises: ConfigError."""
    if said is None:
        return Secret("")
    given = Secret(sys.stdin.readline().strip() if said == FROM_INPUT else said)
    check_address(given.reveal())
    if configured and configured != given:
        raise ConfigError(
            "--database names another database than [database] url (or TRANSOM_DATABASE__URL) "
            "does; leave one of them out"
        )
    if said != FROM_INPUT and has_password(given.reveal()):
        print(
            "transom: others on this machine can read the password in --database from the list of "
            "processes; set TRANSOM_DATABASE__URL, or use a pgpass file, or --database -",
            file=sys.stderr,
        )
    return given


def refuse_files(folder: Path, url: Secret) -> None:
    """Raises: ConfigError if the folder's data are in files."""
    for file in sorted(folder.glob("*.db")):
        raise ConfigError(
            f"{file}: this folder's data are in files, and [database] url names PostgreSQL at "
            f"{shown(url.reveal())}; choose another folder with --data-dir, or leave the address "
            "out"
        )
