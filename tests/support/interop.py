# SPDX-License-Identifier: Apache-2.0
"""The peers of an interoperation test, the pairings of them, and what a call came to."""

from dataclasses import dataclass
from typing import Any

from support.oslo_peer import Program
from support.rabbit import Broker
from support.transom_peer import Ours

__all__ = ["PAIRINGS", "Bus", "Ours", "Pair", "Peer", "Program", "kinds", "remote_kind", "text"]

Peer = Program | Ours
PAIRINGS = ("theirs to theirs", "theirs to ours", "ours to theirs", "ours to ours")


@dataclass(frozen=True)
class Bus:
    """The peers on one virtual host."""

    broker: Broker
    our: Ours
    their_client: Program
    their_server: Program
    wire: Program


@dataclass(frozen=True)
class Pair:
    """Who calls, who serves, and a topic that nobody else uses."""

    client: Peer
    server: Peer
    topic: str

    async def serve(self, server: str = "s1", **target: str) -> dict[str, str]:
        """Starts a server; the target of its clients."""
        whole = {"topic": self.topic, "server": server, **target}
        await self.server.ask("serve", name=f"{self.topic}.{server}", target=whole)
        return {"topic": self.topic, **target}


def remote_kind(outcome: dict[str, Any]) -> str:
    """The name of the exception that the endpoint raised, however the client shows it."""
    error = outcome["error"]
    if error["class"] == "RemoteError":
        return str(error["args"][0])
    return str(error["class"]).removesuffix("_Remote")


def text(outcome: dict[str, Any]) -> str:
    """What it said."""
    error = outcome["error"]
    return str(error["args"][1] if error["class"] == "RemoteError" else error["text"])


def kinds(outcome: dict[str, Any]) -> list[str]:
    """The class of a client's own error and its ancestors."""
    return list(outcome["error"]["kinds"])
