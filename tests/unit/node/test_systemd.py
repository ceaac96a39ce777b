"""What systemd hears."""

import asyncio
import socket
from contextlib import suppress

import pytest

from transom.node.systemd import Systemd


@pytest.fixture
def listening(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(5)
        yield sock


def test_ready_and_stopping_are_one_datagram_each(listening) -> None:
    systemd = Systemd(listening.getsockname())
    systemd.ready()
    systemd.stopping()
    assert [listening.recv(100), listening.recv(100)] == [b"READY=1", b"STOPPING=1"]


def test_an_abstract_address_is_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("")  # the kernel picks an abstract name
        sock.settimeout(5)
        Systemd("@" + sock.getsockname()[1:].decode()).ready()
        assert sock.recv(100) == b"READY=1"


async def test_the_watchdog_is_fed_twice_in_its_time(listening) -> None:
    feeding = asyncio.create_task(Systemd(listening.getsockname(), 0.02).keep_alive())
    try:
        for _ in range(3):
            assert await asyncio.to_thread(listening.recv, 100) == b"WATCHDOG=1"
    finally:
        feeding.cancel()
        with suppress(asyncio.CancelledError):
            await feeding


async def test_without_systemd_nothing_happens() -> None:
    systemd = Systemd("")
    systemd.ready()
    await asyncio.wait_for(systemd.keep_alive(), 1)


def test_a_systemd_that_is_gone_is_no_error(tmp_path) -> None:
    Systemd(str(tmp_path / "gone")).ready()
