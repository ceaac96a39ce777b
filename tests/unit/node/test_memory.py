"""Memory figures."""

import os

from transom.node.memory import memory_mib


def test_a_process_has_a_plausible_share_of_memory_that_grows_with_what_it_holds() -> None:
    before = memory_mib(os.getpid())
    held = b"x" * (32 * 1024 * 1024)
    after = memory_mib(os.getpid())
    assert 5 < before < 1000
    assert 28 < after - before < 40
    assert len(held) == 32 * 1024 * 1024


def test_a_process_that_is_gone_takes_nothing() -> None:
    assert memory_mib(2**22 + 1) == 0.0
