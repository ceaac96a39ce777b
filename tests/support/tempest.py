"""Tempest, run as its users do: a folder with `tempest.conf` and `accounts.yaml`, and test names.

TRANSOM_TEMPEST names the folder of its programs; by default `.cache/tempest/bin`.
"""

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from support.stack import ROOT, Stack

TEMPEST = Path(os.environ.get("TRANSOM_TEMPEST", ROOT / ".cache" / "tempest" / "bin"))
LISTS = ROOT / "tests" / "compat" / "tempest"
CONFIGURATION = """\
[DEFAULT]
log_file = tempest.log

[auth]
use_dynamic_credentials = {dynamic}
test_accounts_file = {folder}/accounts.yaml
admin_username = admin
admin_password = {password}
admin_project_name = admin
admin_domain_name = Default
default_credentials_domain_name = Default

[identity]
auth_version = v3
user_unique_last_password_count = 0
uri_v3 = {auth_url}/v3
region = RegionOne

[identity-feature-enabled]
application_credentials = true
access_rules = false
external_idp = false
trust = false
project_tags = true
domain_specific_drivers = false
immutable_user_source = false
security_compliance = true

[oslo_concurrency]
lock_path = {folder}/locks

[service_available]
zaqar = true
cinder = false
glance = false
neutron = false
nova = false
swift = false

[messaging]
max_queues_per_page = 20
"""
_TIME = re.compile(r"^Ran (\d+) tests? in", re.M)
_SKIPPED = re.compile(r"\(skipped=(\d+)\)|skipped=(\d+)")


@dataclass(frozen=True)
class Outcome:
    """What a run came to. `printed`: all of it, for people."""

    ran: int
    skipped: int
    succeeded: bool
    printed: str


def listed(suite: str) -> list[str]:
    """The names of the tests in one of the lists."""
    return (LISTS / f"{suite}.txt").read_text().split()


def prepared(stack: Stack, folder: Path, *, dynamic: bool = False, accounts: int = 4) -> Path:
    """The folder with what tempest needs to know of the cloud.

    `dynamic`: it makes users and projects itself, as admin, as its tests of admins want.
    """
    folder.mkdir()
    if not dynamic:
        made = stack.transom("identity", "accounts", "--count", str(accounts)).stdout
        (folder / "accounts.yaml").write_text(made)
    clouds = yaml.safe_load((stack.data / "clouds.yaml").read_text())
    auth = clouds["clouds"]["transom"]["auth"]
    text = CONFIGURATION.format(
        folder=folder,
        dynamic=str(dynamic).lower(),
        password=auth["password"],
        auth_url=auth["auth_url"],
    )
    (folder / "tempest.conf").write_text(text)
    return folder


def run(folder: Path, tests: Sequence[str], within_s: float = 300.0) -> Outcome:
    """Runs tests by their names, or those of modules and classes, one after the other."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    done = subprocess.run(
        [str(TEMPEST / "python"), "-W", "ignore", "-m", "testtools.run", *tests],
        env={**kept, "HOME": str(folder), "TEMPEST_CONFIG_DIR": str(folder)},
        cwd=folder, capture_output=True, text=True, check=False, timeout=within_s,
    )  # fmt: skip
    printed = done.stdout + done.stderr
    ran, skipped = _TIME.search(printed), _SKIPPED.search(printed)
    return Outcome(
        int(ran[1]) if ran else 0,
        int(skipped[1] or skipped[2]) if skipped else 0,
        done.returncode == 0,
        printed,
    )
