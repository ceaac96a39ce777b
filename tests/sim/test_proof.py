# SPDX-License-Identifier: Apache-2.0
"""`make proof` says what it found: a table, and an exit status that nobody overlooks."""

import json
import sys
from pathlib import Path

import pytest

from proof import __main__ as proof
from proof.outcome import Outcome


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["proof", *words])
    return proof.main()


def test_a_fault_is_shown_and_ends_with_status_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(proof, "RESULTS", tmp_path / "proof.json")
    monkeypatch.setattr(
        proof,
        "CAMPAIGNS",
        {
            "good": (lambda seed, rounds: Outcome(rounds, figures={"seen": seed}), 3),
            "bad": (lambda seed, rounds: Outcome(rounds, ["a message is lost"]), 4),
        },
    )
    assert run(monkeypatch, "--seed", "7") == 1
    shown = capsys.readouterr().out
    assert "FAULT a message is lost" in shown
    rows = json.loads((tmp_path / "proof.json").read_text())
    assert [(row["campaign"], row["rounds"], row["seed"]) for row in rows] == [
        ("good", 3, 7),
        ("bad", 4, 7),
    ]
    assert run(monkeypatch, "--only", "good") == 0


def test_a_part_of_the_campaigns_leaves_the_results_as_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(proof, "RESULTS", tmp_path / "proof.json")
    assert run(monkeypatch, "--only", "feed", "--scale", "0.001") == 0
    assert run(monkeypatch, "--only", "calls", "--scale", "0.001") == 0
    assert not (tmp_path / "proof.json").exists()
