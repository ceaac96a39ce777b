"""Three hosts of one network, as network namespaces behind a router that can cut them off."""

import contextlib
import os
import subprocess
from collections.abc import Iterator

import pytest

HOSTS = ("a", "b", "c")


class Network:
    """`a`, `b` and `c` have an address each; every packet between them goes through `router`."""

    def __init__(self) -> None:
        self._prefix = f"tz{os.getpid()}"
        self.router = f"{self._prefix}r"

    def host(self, name: str) -> str:
        """Its namespace."""
        return f"{self._prefix}{name}"

    def address(self, name: str) -> str:
        return f"10.213.{HOSTS.index(name)}.2"

    def allowed(self) -> str:
        """What keeps us from making it; "" if nothing."""
        try:
            ip("netns", "add", self.router)
        except (OSError, subprocess.CalledProcessError) as error:
            return getattr(error, "stderr", "") or str(error)
        return ""

    def make(self) -> None:
        """Once it is `allowed`."""
        self._on_router("sysctl", "-qw", "net.ipv4.ip_forward=1")
        for number, name in enumerate(HOSTS):
            host = self.host(name)
            ip("netns", "add", host)
            ip("-n", host, "link", "set", "lo", "up")
            pair = ("eth0", "type", "veth", "peer", "name", name, "netns", self.router)
            ip("-n", host, "link", "add", *pair)
            ip("-n", host, "address", "add", f"10.213.{number}.2/24", "dev", "eth0")
            ip("-n", host, "link", "set", "eth0", "up")
            ip("-n", self.router, "address", "add", f"10.213.{number}.1/24", "dev", name)
            ip("-n", self.router, "link", "set", "dev", name, "up")
            ip("-n", host, "route", "add", "default", "via", f"10.213.{number}.1")

    def remove(self) -> None:
        for name in (*map(self.host, HOSTS), self.router):
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("netns", "delete", name)

    def down(self, name: str) -> None:
        """The host hears nobody and nobody hears it; no end of a connection is told."""
        ip("-n", self.router, "link", "set", "dev", name, "down")

    def up(self, name: str) -> None:
        ip("-n", self.router, "link", "set", "dev", name, "up")

    @contextlib.contextmanager
    def cut(self, one: str, other: str, port: int) -> Iterator[None]:
        """What `one` sends to that port of `other` is lost, both ways."""
        here, there = self.address(one), self.address(other)
        rules = [
            ("from", here, "to", there, "ipproto", "tcp", "dport", str(port), "blackhole"),
            ("from", there, "to", here, "ipproto", "tcp", "sport", str(port), "blackhole"),
        ]
        for rule in rules:
            ip("-n", self.router, "rule", "add", *rule)
        try:
            yield
        finally:
            for rule in rules:
                ip("-n", self.router, "rule", "delete", *rule)

    def _on_router(self, *words: str) -> None:
        ip("netns", "exec", self.router, *words)


def ip(*words: str) -> None:
    """Raises: CalledProcessError, with what it said."""
    subprocess.run(("ip", *words), check=True, capture_output=True, text=True, timeout=10)


@contextlib.contextmanager
def three_hosts() -> Iterator[Network]:
    """Skips, saying why, where the system allows no namespaces; but not where CI runs."""
    made = Network()
    try:
        if refused := made.allowed():
            told = f"NOT TESTED, no network namespaces here (root and `ip` are needed): {refused}"
            assert not os.environ.get("CI"), told
            pytest.skip(told)
        made.make()
        yield made
    finally:
        made.remove()
