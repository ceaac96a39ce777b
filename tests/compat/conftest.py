# SPDX-License-Identifier: Apache-2.0
"""Real Keystones: the folder that each begins with is made once, and one is for all tests that
leave it running.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.keystone import RealKeystone, real_keystone


@pytest.fixture(scope="session")
def made_keystone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keystone-made")
    RealKeystone(folder).make()
    return folder


@pytest.fixture(scope="session")
def keystone(
    made_keystone: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealKeystone]:
    with real_keystone(tmp_path_factory.mktemp("keystone"), made_keystone) as keystone:
        yield keystone
