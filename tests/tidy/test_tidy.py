# SPDX-License-Identifier: Apache-2.0
"""The tree keeps the structure rules, and each rule fails on a planted fault."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tidy import rules
from tidy.source import Module, load

ROOT = Path(__file__).parents[2]
ALLOWED = (Path(__file__).parent / "allowed.txt").read_text().split()


def tracked(*patterns: str) -> dict[str, str]:
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    texts = {}
    for name in names:
        path = ROOT / name
        if path.is_file():
            texts[name] = path.read_text("utf-8", errors="replace")
    return texts


@pytest.fixture(scope="module")
def modules() -> dict[str, Module]:
    return load(ROOT / "src" / "transom")


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_the_tree_keeps_the_rule(rule: object, modules: dict[str, Module]) -> None:
    found = [fault for fault in rule(modules) if fault.split(":")[0] not in ALLOWED]  # type: ignore[operator]
    assert not found, "\n".join(found)


def test_decision_records_have_their_form() -> None:
    assert not list(rules.decisions(ROOT / "docs" / "decisions"))


def test_no_file_names_a_registry_or_a_machine() -> None:
    assert not list(rules.foreign(tracked()))


def test_links_of_documents_lead_somewhere() -> None:
    assert not list(rules.links(ROOT, tracked("*.md")))


def test_the_install_is_light() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = re.findall(r"^([a-z0-9._-]+)==", (ROOT / "requirements/run.txt").read_text(), re.M)
    build = {"hatchling", "editables", "packaging", "pathspec", "pluggy", "tomlkit",
             "trove-classifiers"}  # fmt: skip
    assert len(project["dependencies"]) <= 12
    assert len(set(locked) - build) <= 35


PLANTED = {
    "layers": {"runtime/a.py": "from transom.messaging import target\n"},
    "layers-contract": {
        "queue/app.py": "from transom.identity import app\n", "identity/app.py": "",
    },
    "rooms": {"queue/store.py": "from transom.queue import app\n", "queue/app.py": ""},
    "rooms-unknown": {"queue/stuff.py": ""},
    "purity": {"queue/logic/a.py": "import asyncio\n"},
    "purity-call": {"queue/logic/a.py": "from datetime import datetime\nx = datetime.now()\n"},
    "purity-environment": {"queue/model.py": "import x\ny = x.environ\n"},
    "purity-transitive": {
        "queue/logic/a.py": "from transom.runtime import b\n",
        "runtime/b.py": "from transom.runtime import c\n", "runtime/c.py": "import socket\n",
    },
    "purity-lazy": {"queue/logic/a.py": "def f():\n    import time\n"},
    "drivers": {"queue/store.py": "import sqlite3\n"},
    "drivers-eager": {
        "node/a.py": "from transom.messaging.drivers.zmq import driver\n",
        "messaging/drivers/zmq/driver.py": "",
    },
    "sizes": {"runtime/a.py": "x = 1 + 1\n" * 401},
    "sizes-function": {"runtime/a.py": "def f():\n" + "    f()\n" * 50},
    "names": {"runtime/utils.py": ""},
    "excepts": {"runtime/a.py": "try:\n    pass\nexcept Exception:\n    pass\n"},
    "headers": {"runtime/a.py": "x = 1\n"},
}  # fmt: skip


@pytest.mark.parametrize("planted", PLANTED)
def test_each_rule_fails_on_a_planted_fault(planted: str, tmp_path: Path) -> None:
    for name, text in PLANTED[planted].items():
        path = tmp_path / "transom" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    rule = getattr(rules, planted.partition("-")[0])
    assert list(rule(load(tmp_path / "transom")))


def test_texts_and_tables_do_not_count_as_code(tmp_path: Path) -> None:
    body = '"""What it is."""\nQUERY = """\n' + "select 1\n" * 500 + '"""\nTABLE = {\n'
    (tmp_path / "a.py").write_text(body + "    1: 2,\n" * 500 + "}\n")
    assert not list(rules.sizes(load(tmp_path)))


def test_the_type_checkers_imports_do_not_count_as_loaded(tmp_path: Path) -> None:
    room = tmp_path / "queue" / "logic"
    room.mkdir(parents=True)
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import asyncio\n"
    (room / "a.py").write_text(text)
    assert not list(rules.purity(load(tmp_path)))


def test_a_malformed_decision_record_is_found(tmp_path: Path) -> None:
    (tmp_path / "0002-Something.md").write_text("# Something\n")
    assert len(list(rules.decisions(tmp_path))) == 3


def test_a_named_registry_and_a_dead_link_are_found() -> None:
    assert list(rules.foreign({"a": "see " + "pypi" + ".org"}))
    assert list(rules.links(ROOT, {"README.md": "[x](no/such/file.md)"}))
