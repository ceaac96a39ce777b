# SPDX-License-Identifier: Apache-2.0
"""`transom policy repl`: a session at a terminal, or from a pipe.

At a terminal a wrong line is told and the session goes on; Ctrl-C drops the line that is typed, or
ends what is being evaluated; Ctrl-D ends. From a pipe, status 1 says that some line was wrong.
"""

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from transom.cli.policy_files import material
from transom.cli.policy_session import Ended, Session
from transom.cli.policy_world import clock, mode_of, tell_faults
from transom.errors import TransomError
from transom.policy.datalog.faults import Refused

HISTORY_LINES_MOST = 2000
HISTORY = "transom/policy_history"
DELIMITERS = " \t\n(),"


def repl(options: argparse.Namespace) -> int:
    session = Session(mode_of(options.strict), clock)
    if options.path and not _tells(partial(_load, session, options.path)):
        return 1
    if not sys.stdin.isatty():
        return _read_all(session)
    print("Rules, facts, questions that end with `?`; :help, :quit.")
    with _readline(session):
        _converse(session)
    return 0


def _load(session: Session, paths: list[Path]) -> Iterator[str]:
    def warn(text: str) -> None:
        print(f"warning: {text}")

    return session.load(material(paths, warn), warn)


def _read_all(session: Session) -> int:
    """From a pipe."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")
    status = 0
    held = ""
    for number, line in enumerate(sys.stdin, 1):
        held += line
        if session.goes_on(held):
            continue
        session.line = number - held.count("\n") + 1
        try:
            if not _tells(partial(session.answer, held)):
                status = 1
        except Ended:
            return status
        held = ""
    if held and not _tells(partial(session.answer, held)):
        status = 1
    return status


def _converse(session: Session) -> None:
    """At a terminal."""
    held = ""
    while True:
        try:
            held += input("... " if held else f"{session.policy}> ") + "\n"
            if session.goes_on(held):
                continue
        except KeyboardInterrupt:
            print("\n(the line is dropped)" if held else "")
            held = ""
            continue
        except EOFError:
            print()
            return
        text, held = held, ""
        try:
            _tells(partial(session.answer, text))
        except KeyboardInterrupt:
            print("\n(interrupted, and nothing was changed)")
        except Ended:
            return


def _tells(answer: Callable[[], Iterator[str]]) -> bool:
    """Prints what comes, or what is wrong."""
    try:
        for line in answer():
            print(line, flush=True)
    except Refused as refused:
        tell_faults(refused.faults, sys.stdout)
    except TransomError as error:
        print(error.text)
    except OSError as error:
        print(f"{error.filename}: {error.strerror}" if error.filename else error)
    else:
        return True
    sys.stdout.flush()
    return False


@contextlib.contextmanager
def _readline(session: Session) -> Iterator[None]:
    """History and completion, where Python has them."""
    try:
        import readline
    except ImportError:
        yield
        return
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")  # noqa: PTH111
    path = Path(state) / HISTORY
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        readline.read_history_file(path)
    readline.set_history_length(HISTORY_LINES_MOST)
    readline.set_completer_delims(DELIMITERS)

    def complete(text: str, index: int) -> str | None:
        found = [word for word in session.words() if word.startswith(text)]
        return found[index] if index < len(found) else None

    readline.set_completer(complete)
    readline.parse_and_bind("tab: complete")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            readline.write_history_file(path)
