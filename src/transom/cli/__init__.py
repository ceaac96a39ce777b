# SPDX-License-Identifier: Apache-2.0
"""The `transom` command.

Invariant: importing this loads argparse and nothing else; a command's module is loaded when it
runs (`transom --help` stays below 150 ms of CPU, see decision 2).
"""

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from transom import __version__
from transom.errors import ConfigError, TransomError

DATA_DIR_VARIABLE = "TRANSOM_DATA_DIR"
_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


class _Mixed(argparse.ArgumentParser):
    """Takes arguments also behind options: `post QUEUE --json BODY`. Python 3.11 does not."""

    _inside = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self._inside:
            return super().parse_known_args(args, namespace)
        self._inside = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._inside = False


def default_data_folder() -> Path:
    """`$TRANSOM_DATA_DIR`, or `transom` in the user's data folder."""
    if chosen := os.environ.get(DATA_DIR_VARIABLE):
        return Path(chosen)
    if home := os.environ.get("XDG_DATA_HOME"):
        return Path(home) / "transom"
    # Without HOME and without an account "~" stays, which no command takes for a folder.
    return Path(os.path.expanduser("~/.local/share/transom"))  # noqa: PTH111


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="transom", description="One control plane for many clouds.")
    root.add_argument("--version", action="version", version=f"transom {__version__}")
    commands = root.add_subparsers(title="commands", required=True, metavar="COMMAND")

    _running(commands)
    _configuration(commands)
    _keystone(commands)
    _care(commands)
    _keys(commands)
    _tables(commands)
    _queue(commands)
    _policy(commands)
    return root


def _running(commands: _Commands) -> None:
    """To start, stop and look at processes."""
    up = _command(commands, "up", "up:up", "start everything on this machine")
    up.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    up.add_argument("--port", type=int, help="port to listen on (default: 8720; 0: any free one)")
    up.add_argument("--detach", action="store_true", help="return when ready, go on in background")
    up.add_argument(
        "--database",
        metavar="URL",
        help="keep the data in PostgreSQL: postgresql://user@host:port/database; -: read it from "
        "standard input (default: files in the data folder, or what was given last)",
    )
    up.add_argument("--single-process", action="store_true", help="run all roles in one process")

    _command(commands, "down", "control:down", "stop what `up` started, after it has drained")

    status = _command(commands, "status", "control:status", "show roles, memory, restarts")
    status.add_argument("--json", action="store_true", help="for programs")

    bus = _command(commands, "bus", "bus:bus", "show who is on the bus, what each serves and calls")
    bus.add_argument(
        "--wait", type=float, default=1.0, metavar="S", help="for answers (default: %(default)s s)"
    )
    bus.add_argument("--json", action="store_true", help="for programs")
    verbs = bus.add_subparsers(metavar="VERB")
    key = _command(verbs, "key", "bus:key", "make the key of a bus between hosts")
    key.add_argument("file", type=Path, help="the file to make; it must not be there yet")

    run = _command(commands, "run", "run:run", "run one role in the foreground, without supervisor")
    run.add_argument("role", help="registry, api or worker")
    run.add_argument("--port", type=int, help="port of the role api (default: [api] port)")
    run.add_argument(
        "--only", action="append", default=[], metavar="PART", help="of the role api, this part"
    )


def _configuration(commands: _Commands) -> None:
    """To configure."""
    config = commands.add_parser("config", help="show or check the configuration")
    verbs = config.add_subparsers(required=True, metavar="VERB")
    _command(verbs, "show", "configuration:show", "every option, its value and where it comes from")
    check = _command(
        verbs, "check", "configuration:check", "say whether the configuration can be used"
    )
    check.add_argument("--online", action="store_true", help="ask the real Keystone, too")
    rules = _command(
        verbs, "rules", "configuration:rules", "print a part's access rules, as a policy file"
    )
    rules.add_argument("part", help="identity, queue or keys")


def _keystone(commands: _Commands) -> None:
    """To work with a real Keystone."""
    keystone = commands.add_parser("keystone", help="work with a real Keystone")
    verbs = keystone.add_subparsers(required=True, metavar="VERB")
    register = _command(
        verbs,
        "register",
        "keystone:register",
        "make the service user, services and endpoints in a real Keystone",
    )
    register.add_argument("--os-cloud", help="cloud of clouds.yaml (default: the OS_* variables)")
    register.add_argument(
        "--region", help="the endpoints' region (default: the cloud's, or the only one)"
    )
    register.add_argument(
        "--role", default="service", help="role of the service user (default: %(default)s)"
    )
    register.add_argument(
        "--new-password", action="store_true", help="give the service user another password"
    )
    register.add_argument("--dry-run", action="store_true", help="say what would be changed")


def _care(commands: _Commands) -> None:
    """To care for data and secrets."""
    database = commands.add_parser("db", help="care for the databases")
    verbs = database.add_subparsers(required=True, metavar="VERB")
    _command(verbs, "upgrade", "databases:upgrade", "bring the data folder to this version")

    backup = _command(commands, "backup", "backup:backup", "put all data and keys into one file")
    backup.add_argument("file", type=Path, help="the file to make; it must not be there yet")

    restore = _command(commands, "restore", "backup:restore", "make a data folder of a backup")
    restore.add_argument("file", type=Path, help="what `transom backup` made")
    restore.add_argument("--check", action="store_true", help="try it, and leave nothing")
    restore.add_argument(
        "--database",
        metavar="URL",
        help="put the data into this empty PostgreSQL database, not into files of the folder "
        "(- reads the URL from standard input)",
    )

    doctor = _command(commands, "doctor", "doctor:doctor", "find what is wrong, say what to do")
    doctor.add_argument("--json", action="store_true", help="for programs")

    secrets = commands.add_parser("secrets", help="care for secrets at rest")
    verbs = secrets.add_subparsers(required=True, metavar="VERB")
    _command(verbs, "rotate", "secrets:rotate", "make a new master key, seal everything under it")

    identity = commands.add_parser("identity", help="care for embedded identity")
    verbs = identity.add_subparsers(required=True, metavar="VERB")
    reset = _command(
        verbs, "reset-password", "identity:reset_password", "give a user a new password"
    )
    reset.add_argument("--user", default="admin", help="name or id (default: %(default)s)")
    _command(verbs, "rotate-keys", "identity:rotate_keys", "make a new key of tokens")
    accounts = _command(
        verbs, "accounts", "identity:accounts", "make users for a test suite; print accounts.yaml"
    )
    accounts.add_argument("--count", type=int, default=4, help="how many (default: %(default)s)")


def _keys(commands: _Commands) -> None:
    """To care for the key server of message security."""
    keys = commands.add_parser("keys", help="say who speaks on a secured bus, and write key files")
    verbs = keys.add_subparsers(required=True, metavar="VERB")
    add = _key_file(verbs, "add", "make a party that is not there yet, and its key file")
    enrol = _key_file(verbs, "enrol", "write a party's key file; the party may be there already")
    enrol.add_argument(
        "--public-key",
        action="store_true",
        help="with a pair of keys and their certificate, for use without a key server",
    )
    rotate = _key_file(verbs, "rotate", "give a party another key, and write its key file")
    rotate.add_argument(
        "--at-once", action="store_true", help="the keys before are worth nothing from now on"
    )
    for command in (add, enrol, rotate):
        command.add_argument(
            "--server",
            default="",
            metavar="URL",
            help="what the party reaches the key server by (default: [api] public_url, or where "
            "the doors are, and /keys)",
        )
    every = _command(verbs, "list", "keys:list_parties", "list parties")
    show = _command(verbs, "show", "keys:show", "show a party, but no key of it")
    remove = _command(verbs, "remove", "keys:remove", "remove a party with its keys")
    for command in (show, remove):
        command.add_argument("name", help="the party, TOPIC.SERVER")
    grown = _command(verbs, "group-add", "keys:group_add", "put parties into a group")
    grown.add_argument("group", help="its name, or the beginning of groups and *")
    grown.add_argument("members", nargs="+", metavar="member", help="a party, or a beginning and *")
    shrunk = _command(verbs, "group-remove", "keys:group_remove", "take parties out of a group")
    shrunk.add_argument("group", help="as it was put there")
    shrunk.add_argument(
        "members", nargs="*", metavar="member", help="as they were put there; none: the group"
    )
    groups = _command(verbs, "group-list", "keys:group_list", "list groups and their members")
    for command in (every, show, groups):
        command.add_argument("--json", action="store_true", help="for programs")
    _command(
        verbs,
        "rotate-authority",
        "keys:rotate_authority",
        "sign certificates with another key; those signed before hold until they end",
    )


def _key_file(verbs: _Commands, name: str, says: str) -> argparse.ArgumentParser:
    """A command that writes a key file."""
    command = _command(verbs, name, f"keys:{name}", says)
    command.add_argument("name", help="the party, TOPIC.SERVER")
    command.add_argument(
        "--out", required=True, metavar="FILE", help="the key file, for its owner alone"
    )
    return command


def _tables(commands: _Commands) -> None:
    """To look at tables."""
    tables = commands.add_parser("tables", help="look at live tables")
    verbs = tables.add_subparsers(required=True, metavar="VERB")
    listed = _command(verbs, "list", "tables:list_", "list every table that is published")
    listed.add_argument(
        "--wait", type=float, default=1.5, metavar="S", help="for beats (default: %(default)s s)"
    )
    listed.add_argument("--json", action="store_true", help="for programs")
    show = _command(verbs, "show", "tables:show", "print a table's rows as they are now")
    show.add_argument("table", help="for example queue:queues")
    show.add_argument("--json", action="store_true", help="one JSON object a line")
    watch = _command(verbs, "watch", "tables:watch", "print a table's rows, then each change, live")
    watch.add_argument("table", help="for example queue:queues")
    watch.add_argument("--json", action="store_true", help="one JSON object a line")


def _queue(commands: _Commands) -> None:
    """To use a queue from the shell."""
    queue = commands.add_parser("queue", help="follow, fill and empty queues from the shell")
    mixed: type[argparse.ArgumentParser] = _Mixed
    verbs = queue.add_subparsers(required=True, metavar="VERB", parser_class=mixed)
    rotate = _command(
        verbs,
        "rotate-keys",
        "queue_data:rotate_keys",
        "seal what is posted to encrypted queues under new keys; old ones open what they sealed",
    )
    rotate.add_argument(
        "project", nargs="?", default="", help="a project's id (default: all that have keys)"
    )
    _messages(verbs)


def _messages(verbs: _Commands) -> None:
    """To follow, fill and empty a queue through its API."""
    tail = _of_queue(verbs, "tail", "print messages as they are posted, without taking any")
    begin = tail.add_mutually_exclusive_group()
    begin.add_argument("--from-start", action="store_true", help="begin with what is there")
    begin.add_argument("--after", metavar="ID", help="begin after this message")
    tail.add_argument("--count", type=int, metavar="N", help="end after so many messages")
    tail.add_argument("--json", action="store_true", help="one JSON object a line")

    post = _of_queue(verbs, "post", "post messages: arguments, or the lines of a file")
    post.add_argument("body", nargs="*", help="a message each; none: lines of --file")
    post.add_argument("--file", default="-", help="a line a message (default: standard input)")
    kind = post.add_mutually_exclusive_group()
    kind.add_argument("--json", action="store_true", help="each is JSON (default: text)")
    kind.add_argument("--drained", action="store_true", help="lines are as `drain` wrote them")
    post.add_argument(
        "--key-field", metavar="NAME", help="the field of the JSON object that is the message's key"
    )
    post.add_argument("--delay", type=int, metavar="S", help="hide each for so many seconds")
    post.add_argument("--ttl", type=int, metavar="S", help="keep each for so many seconds")
    post.add_argument(
        "--batch", type=int, default=50, metavar="N", help="most in a request (default: 50)"
    )

    drain = _of_queue(
        verbs, "drain", "move messages out, to a file; each is deleted once it is on disk"
    )
    drain.add_argument("--out", metavar="FILE", help="append to it (default: standard output)")
    drain.add_argument("--count", type=int, metavar="N", help="at most so many messages")

    redrive = _of_queue(verbs, "redrive", "move dead letters back to where they came from")
    redrive.add_argument("--to", metavar="QUEUE", help="all to this queue instead")
    redrive.add_argument("--count", type=int, metavar="N", help="at most so many messages")

    stats = _command(verbs, "stats", "queue:stats", "count what queues hold")
    stats.add_argument("queue", nargs="*", help="its name (default: all queues)")
    stats.add_argument("--watch", type=float, metavar="S", help="again each S seconds, till Ctrl-C")
    stats.add_argument("--json", action="store_true", help="one JSON object a queue")
    stats.add_argument("--os-cloud", help=OS_CLOUD_HELP)


OS_CLOUD_HELP = (
    "cloud of clouds.yaml (default: that of --data-dir, if it is given; else the OS_* variables)"
)


def _of_queue(verbs: _Commands, name: str, says: str) -> argparse.ArgumentParser:
    command = _command(verbs, name, f"queue:{name}", says)
    command.add_argument("queue", help="its name")
    command.add_argument("--os-cloud", help=OS_CLOUD_HELP)
    return command


def _policy(commands: _Commands) -> None:
    """To write policies and try them; needs no server."""
    policy = commands.add_parser("policy", help="write policies, test them, try them by hand")
    mixed: type[argparse.ArgumentParser] = _Mixed
    verbs = policy.add_subparsers(required=True, metavar="VERB", parser_class=mixed)
    test = _of_policy(
        verbs, "test", "policy_test:test", "run the cases of policies", "test library --coverage"
    )
    test.add_argument("folder", nargs="+", type=Path, help="a case, or a folder with cases below")
    test.add_argument("--coverage", action="store_true", help="say what of the rules no case tries")
    says = "find what is wrong and what is doubtful in rules"
    lint = _of_policy(verbs, "lint", "policy_text:lint", says, "lint policy.dl")
    lint.add_argument("path", nargs="+", type=Path, help="files of rules, or folders of them")
    fmt = _of_policy(verbs, "fmt", "policy_text:fmt", "give rules their one spelling", "fmt *.dl")
    fmt.add_argument(
        "file", nargs="+", type=Path, help="files of rules, folders of them; -: from and to a pipe"
    )
    fmt.add_argument("--check", action="store_true", help="only name files that would change")
    explain, simulate = _policy_questions(verbs)
    for command in (test, lint, explain, simulate):
        command.add_argument("--json", action="store_true", help="for programs")
    library = _command(verbs, "library", "policy_library:library", "list or copy ready policies")
    library.epilog = "example: transom policy library stuck_servers --to policies"
    library.add_argument("name", nargs="*", help="of the policies to print or copy")
    library.add_argument(
        "--to", type=Path, metavar="DIR", help="copy them with their cases, and schema.yaml"
    )
    says = "try rules by hand, line by line"
    repl = _of_policy(verbs, "repl", "policy_repl:repl", says, "repl policy.dl")
    repl.add_argument("path", nargs="*", type=Path, help=PATH_HELP)


def _policy_questions(verbs: _Commands) -> tuple[argparse.ArgumentParser, ...]:
    """Why, and what if."""
    explain = _of_policy(
        verbs,
        "explain",
        "policy_explain:explained",
        "say why a row follows from rules and facts, or why it does not",
        """explain vms 'error("vm1")'""",
    )
    explain.add_argument("path", nargs="+", type=Path, help=PATH_HELP)
    explain.add_argument("atom", help="the row, such as error(1); _ is any value")
    explain.add_argument("--all", action="store_true", help="in how many ways it may follow")
    simulate = _of_policy(
        verbs,
        "simulate",
        "policy_simulate:simulated",
        "say what would be if rows, rules or actions came; nothing is changed",
        """simulate vms --query 'error(x)' --sequence 'nova:servers+("vm9", "ERROR")'""",
    )
    simulate.add_argument("path", nargs="+", type=Path, help=PATH_HELP)
    simulate.add_argument("--query", required=True, metavar="ATOM", help="what is asked then")
    simulate.add_argument(
        "--sequence",
        default="",
        metavar="TEXT",
        help="steps: p+(1), p-(1), p+(x) :- q(x), calls of actions; @FILE reads them from a file",
    )
    simulate.add_argument(
        "--add", action="append", default=[], type=Path, metavar="FILE", help="rules that come, too"
    )
    simulate.add_argument(
        "--actions", type=Path, metavar="FILE", help="a policy of actions: what they do"
    )
    simulate.add_argument("--delta", action="store_true", help="answer only with what changes")
    simulate.add_argument("--trace", action="store_true", help="say what each step changes")
    for command in (explain, simulate):
        command.add_argument(
            "--policy", help="whose a table without a policy is (default: policy.dl's, or the only)"
        )
        command.add_argument(
            "--time", metavar="TEXT", help="the time that rules see (default: now)"
        )
    return explain, simulate


PATH_HELP = "rules (.dl), facts (.csv, .yaml, .json), or a folder of them"


def _of_policy(
    verbs: _Commands, name: str, where: str, says: str, example: str
) -> argparse.ArgumentParser:
    command = _command(verbs, name, where, says)
    command.epilog = f"example: transom policy {example}"
    command.add_argument(
        "--strict", action="store_true", help="read rules in strict mode (default: compatible)"
    )
    return command


def _command(
    commands: _Commands,
    name: str,
    where: str,
    says: str,
) -> argparse.ArgumentParser:
    """A command whose function is `where` ("module:function" in this package)."""
    command = commands.add_parser(name, help=says, description=says[0].upper() + says[1:] + ".")
    command.add_argument(
        "--data-dir",
        type=_folder,
        default=default_data_folder(),
        help=f"where everything is kept (default: ${DATA_DIR_VARIABLE} or %(default)s)",
    )
    command.add_argument("--config", type=Path, help="TOML file (default: transom.toml in there)")
    command.set_defaults(where=where)
    return command


def _folder(text: str) -> Path:
    """Raises: ConfigError for no folder at all, as from an unset variable."""
    if not text:
        raise ConfigError("--data-dir is empty; name a folder, or leave it out")
    return Path(text)


def _open_standard_files() -> None:
    """Safety: where one was closed (`>&-`), the next file opened would be printed into."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or io.TextIOWrapper(io.FileIO(1, "w", closefd=False))
    sys.stderr = sys.stderr or sys.stdout
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path may be any bytes


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; answers the process's exit status."""
    _open_standard_files()
    try:
        options = parser().parse_args(arguments)
        if options.data_dir.parts[:1] == ("~",):
            raise ConfigError("there is no HOME to keep anything in; name a folder with --data-dir")
        module, _, function = options.where.partition(":")
        command = getattr(importlib.import_module(f"transom.cli.{module}"), function)
        return int(command(options))
    except TransomError as error:
        print(f"transom: {error.text}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"transom: {where}{error.strerror or error}", file=sys.stderr)
        return 1
