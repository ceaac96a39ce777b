"""`transom bus`: who is on the bus, over the real family and its bus."""

import json
from pathlib import Path

from support.stack import get, running


def test_every_process_says_what_it_serves_and_what_became_of_it(tmp_path: Path) -> None:
    with running(tmp_path / "data") as stack:
        nodes = {n["name"]: n for n in json.loads(stack.transom("bus", "--json").stdout)}
        assert set(nodes) == {"api", "worker"}
        serves = {served["topic"]: served for served in nodes["api"]["serves"]}
        assert {"node", "feed.queue"} <= set(serves)
        assert nodes["api"]["pid"] != nodes["worker"]["pid"]
        assert "feed.heartbeats" in nodes["api"]["calls"]
        again = json.loads(stack.transom("bus", "--json").stdout)
        asked = {node["name"]: node["serves"] for node in again}["api"]
        (about,) = [served for served in asked if served["topic"] == "node"]
        assert about["outcomes"] == {"answered": 1}, "the first asking is counted by the second"
        (feed,) = [feed for feed in again[0]["feeds"] if feed["source"] == "queue"]
        assert feed["epoch"] >= 1
        assert feed["n"] >= 0
        text = stack.transom("bus").stdout
        assert "  feeds   queue: epoch " in text
        assert "transom.node 1.0" in text
        assert "p99 < " in text
        _, figures = get(f"{stack.url}/metrics")
        assert b'transom_bus_requests_total{outcome="answered",topic="node"}' in figures


def test_nobody_there_is_said(tmp_path: Path) -> None:
    with running(tmp_path / "data") as stack:
        pass
    told = stack.transom("bus", check=False)
    assert told.returncode == 1
    assert "does not run" in told.stderr
