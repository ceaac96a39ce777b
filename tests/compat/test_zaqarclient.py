"""python-zaqarclient's own functional tests, unmodified, against a whole Transom.

What of them no server of version 2 can pass, and why: docs/howto/run-zaqarclient-tests.md.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from support.stack import CLIENTS, ROOT, Stack

SUITE = ROOT / "tests" / "compat" / "zaqarclient"
POOL = "sqlite:functional"
CANNOT_PASS = {
    "suite.Queues.test_queue_exists_functional",
    "suite.Queues.test_queue_metadata_functional",
    "suite.Queues.test_queue_metadata_reload_functional",
}
TESTS = 36
PATIENCE_S = 240
_TIME = re.compile(r"^Ran (\d+) tests? in", re.M)
_FAILED = re.compile(r"^(?:FAIL|ERROR): (\S+)$", re.M)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    started = Stack(tmp_path_factory.mktemp("data"))
    try:
        yield started.start()
    finally:
        started.stop()


def cloud_of(stack: Stack, folder: Path) -> Path:
    """The admin's cloud, with the ids that the tests look for."""
    found = yaml.safe_load((stack.data / "clouds.yaml").read_text())
    auth = found["clouds"]["transom"]["auth"]
    found["clouds"]["transom"]["auth"] = {
        **{key: auth[key] for key in ("auth_url", "username", "password", "project_name")},
        "user_domain_id": "default",
        "project_domain_id": "default",
    }
    path = folder / "clouds.yaml"
    path.write_text(yaml.safe_dump(found))
    return path


def test_every_test_passes_that_a_server_of_version_2_can_pass(
    stack: Stack, tmp_path: Path
) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    done = subprocess.run(
        [str(CLIENTS / "python"), "-W", "ignore", "-m", "testtools.run", "suite"],
        env={
            **kept,
            "HOME": str(tmp_path),
            "PYTHONPATH": str(SUITE),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OS_CLOUD": "transom",
            "OS_CLIENT_CONFIG_FILE": str(cloud_of(stack, tmp_path)),
            "ZAQARCLIENT_AUTH_FUNCTIONAL": "1",
            "ZAQAR_ENDPOINT": f"{stack.url}/queue",
            "POOL_URI": POOL,
            "POOL_URI_SHOWN": POOL,
        },
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=PATIENCE_S,
    )  # fmt: skip
    printed = done.stdout + done.stderr
    ran = _TIME.search(printed)
    assert ran is not None, printed
    assert int(ran[1]) == TESTS, printed
    assert "skipped" not in printed, printed
    assert set(_FAILED.findall(printed)) == CANNOT_PASS, printed
