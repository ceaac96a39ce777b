# SPDX-License-Identifier: Apache-2.0
import asyncio
import logging
import signal
import subprocess
import sys
import time

from transom.runtime.telemetry.watchdog import LoopWatchdog


def blocking_handler(until) -> None:
    deadline = time.monotonic() + 10
    while not until() and time.monotonic() < deadline:
        time.sleep(0.01)


async def test_a_handler_that_blocks_the_loop_is_named_once(caplog):
    watchdog = LoopWatchdog(stall_s=0.05)
    await watchdog.start()
    try:
        with caplog.at_level(logging.WARNING):
            blocking_handler(lambda: watchdog.stalls)
            stalls = watchdog.stalls
            time.sleep(0.3)
    finally:
        await watchdog.stop()
    assert (stalls, watchdog.stalls) == (1, 1)
    (record,) = [record for record in caplog.records if record.message == "event loop is blocked"]
    assert "blocking_handler" in record.stack
    assert record.late_ms >= 50


async def test_a_loop_that_comes_round_is_left_in_peace():
    watchdog = LoopWatchdog(stall_s=5.0)
    await watchdog.start()
    await asyncio.sleep(0.3)
    await watchdog.stop()
    await watchdog.stop()
    assert watchdog.stalls == 0


SUSPENDED = """
import asyncio, logging, sys
from transom.runtime.telemetry.watchdog import LoopWatchdog

class Shown(logging.Handler):
    def emit(self, record):
        print(record.getMessage(), flush=True)

async def main():
    logging.basicConfig(level=logging.INFO, handlers=[Shown()])
    watchdog = LoopWatchdog()
    await watchdog.start()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await asyncio.sleep(0.5)
    print("stalls", watchdog.stalls, flush=True)
    await watchdog.stop()

asyncio.run(main())
"""


def test_a_process_that_was_suspended_does_not_blame_its_loop():
    with subprocess.Popen(
        [sys.executable, "-c", SUSPENDED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(1.0)  # the suspension itself
        process.send_signal(signal.SIGCONT)
        assert process.stdout.readline() == "process was suspended\n"
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "stalls 0\n"
