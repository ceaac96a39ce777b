# SPDX-License-Identifier: Apache-2.0
"""The peers of the walks, started once."""

from collections.abc import Iterator

import pytest

from compat.zaqar.peers import our_peer, their_peer
from compat.zaqar.walk import Peer


@pytest.fixture(scope="session")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    with our_peer(tmp_path_factory.mktemp("ours")) as peer:
        yield peer


@pytest.fixture(scope="session")
def zaqar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    with their_peer(tmp_path_factory.mktemp("zaqar")) as peer:
        yield peer


@pytest.fixture(scope="session")
def pooled_zaqar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    with their_peer(tmp_path_factory.mktemp("pooled"), pooling=True) as peer:
        yield peer
