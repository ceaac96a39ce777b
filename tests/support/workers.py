"""A family with three workers of the doors: its processes, and a connection to each."""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress

from support.leftovers import Marked
from support.load import Session, login

WORKERS = ("api", "api-2", "api-3")


def path_of(queue: str, what: str = "messages") -> str:
    return f"/queue/v2/queues/{queue}/{what}"


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """They stand still meanwhile, unless they are killed."""
    handles = [os.pidfd_open(pid) for pid in pids]
    for handle in handles:
        signal.pidfd_send_signal(handle, signal.SIGSTOP)
    try:
        yield
    finally:
        for handle in handles:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGCONT)
            os.close(handle)


def pids(stack: Marked) -> dict[str, int]:
    return {
        role["name"]: role["pid"] for role in stack.status()["roles"] if role["name"] in WORKERS
    }


@contextmanager
def at_each(stack: Marked) -> Iterator[Mapping[str, Session]]:
    """A connection to each worker: made while the others stand still. All know its token."""
    token, there = login(stack), pids(stack)
    with ExitStack() as opened:
        sessions = {}
        for name in WORKERS:
            session = opened.enter_context(closing(Session(stack.url, token)))
            with stopped(*(pid for other, pid in there.items() if other != name)):
                assert session.ask("GET", "/healthz")[0] == 200
            sessions[name] = session
        for session in sessions.values():
            assert session.ask("GET", "/queue/v2/queues")[0] == 200
        yield sessions


def post(session: Session, queue: str, body: object) -> int:
    return session.ask("POST", path_of(queue), {"messages": [{"body": body, "ttl": 3600}]})[0]
