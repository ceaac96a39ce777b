"""Memory figures."""

import subprocess
import sys

from transom.node.memory import memory_mib

HELD_MIB = 32
PROGRAM = f"""
print(flush=True)
input()
held = bytes(range(256)) * ({HELD_MIB} << 12)
print(flush=True)
input()
"""


def test_a_process_has_a_plausible_share_of_memory_that_grows_with_what_it_holds() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        before = memory_mib(child.pid)
        print(file=child.stdin, flush=True)
        child.stdout.readline()
        after = memory_mib(child.pid)
        print(file=child.stdin, flush=True)
    assert 2 < before < 100
    assert HELD_MIB - 4 < after - before < HELD_MIB + 8


def test_a_process_that_is_gone_takes_nothing() -> None:
    assert memory_mib(2**22 + 1) == 0.0
