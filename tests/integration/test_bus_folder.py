# SPDX-License-Identifier: Apache-2.0
"""A family's bus is found from another environment than the one that started it."""

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from support.stack import Stack


def test_a_watch_finds_the_bus_whatever_its_own_runtime_folder_is(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="transom-") as runtime:
        stack = Stack(tmp_path / "data", {"XDG_RUNTIME_DIR": runtime})
        try:
            stack.start()
            assert list(Path(runtime).iterdir())
            watch = subprocess.Popen(
                [sys.executable, "-m", "transom.cli", "tables", "watch", "queue:queues",
                 "--data-dir", str(stack.data)],
                env={**stack.environment, "XDG_RUNTIME_DIR": ""},
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            assert watch.stdout is not None
            try:
                assert watch.stdout.readline() == "(live)\n"
            finally:
                watch.send_signal(signal.SIGINT)
                watch.wait(10)
                watch.stdout.close()
        finally:
            stack.stop()
