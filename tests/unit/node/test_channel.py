"""The role's end of the line to its supervisor."""

import asyncio
import socket

import pytest

from transom.node.channel import LINE_BYTES_MOST, Channel, Lines, encode_line


def test_lines_come_out_whole_however_they_were_cut() -> None:
    data = encode_line({"a": 1}) + encode_line({"b": "é\n"})
    for size in range(1, len(data) + 1):
        lines = Lines()
        found = []
        for start in range(0, len(data), size):
            found += lines.feed(data[start : start + size])
        assert found == [{"a": 1}, {"b": "é\n"}]


@pytest.mark.parametrize("data", [b"\xff\n", b"{\n", b"[]\n", b"1\n", b"x" * (LINE_BYTES_MOST + 1)])
def test_what_is_no_line_is_refused(data) -> None:
    with pytest.raises(ValueError):
        Lines().feed(data)


async def test_questions_are_answered_until_the_role_is_told_to_stop() -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(5)
    with ours, theirs:
        channel = Channel(theirs, {}, 60)
        async with channel.attend() as stopping:
            ours.sendall(encode_line({"ask": True}))
            assert await asyncio.to_thread(ours.recv, 100) == encode_line({"answer": True})
            assert not stopping.is_set()
            channel.complain = lambda: "no disk"
            ours.sendall(encode_line({"ask": True}))
            answer = await asyncio.to_thread(ours.recv, 100)
            assert answer == encode_line({"answer": True, "complaint": "no disk"})
            ours.sendall(encode_line({"stop": True}))
            await asyncio.wait_for(stopping.wait(), 5)
