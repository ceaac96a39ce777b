"""The fork server's own end of its line to the supervisor."""

import socket

from transom.node.forkserver import ForkServer


def test_a_supervisor_killed_before_it_read_everything_is_gone_and_no_fault() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        ours.send(b"what nobody reads")
        theirs.close()
        assert ForkServer(ours)._next() == (b"", [])
