# SPDX-License-Identifier: Apache-2.0
"""`transom up --detach` ends as what it started did, however slowly that ends."""

import sys
from pathlib import Path

import pytest

from transom.cli.up import READY, _detached
from transom.runtime.secrets import Secret


@pytest.mark.parametrize(
    ("script", "status", "shown"),
    [
        ("echo no; exec >&- 2>&-; sleep 1; exit 7", 7, "no\n"),
        ("exec >&- 2>&-; sleep 1; kill -9 $$", 137, ""),
        (f"echo yes; echo '{READY}'; exec >&- 2>&-; exit 0", 0, "yes\n"),
    ],
)
def test_the_status_is_that_of_what_was_started(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    script: str,
    status: int,
    shown: str,
) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    assert _detached(Secret("")) == status
    assert capfd.readouterr().out == shown
