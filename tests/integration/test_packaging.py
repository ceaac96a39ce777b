"""What is packaged can be used: units that systemd takes, a container file that says what it does,
an installation that holds every file that the program reads."""

import configparser
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from transom.cli import parser
from transom.cli.settings import SECTIONS
from transom.runtime.config import ENVIRONMENT_PREFIX

from support.stack import ROOT, get, running, wait_for

PACKAGING = ROOT / "packaging"
UNITS = sorted((PACKAGING / "systemd").iterdir())
MONITORING = PACKAGING / "monitoring"
CONTAINER = (PACKAGING / "container" / "Containerfile").read_text()


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    ours = Path(sys.executable).with_name("transom")
    for unit in UNITS:
        text = unit.read_text().replace("/opt/transom/.venv/bin/transom", str(ours))
        (tmp_path / unit.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", *map(str, sorted(tmp_path.iterdir()))],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    about_ours = [line for line in done.stderr.splitlines() if "transom" in line]
    assert about_ours == []
    (tmp_path / "transom.service").write_text("[Service]\nType=notifi\nExecStart=/nowhere\n")
    planted = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / "transom.service")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert planted.stderr, "systemd-analyze finds nothing, whatever the unit says"


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_calls_commands_that_there_are(unit: Path) -> None:
    read = configparser.RawConfigParser(strict=False, interpolation=None)
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read_string(unit.read_text())
    if unit.suffix != ".service":
        assert read["Install"]["WantedBy"] == "timers.target"
        return
    words = shlex.split(read["Service"]["ExecStart"].replace("%%", "%"))
    if words[0] == "/bin/sh":
        words = shlex.split(words[2].removeprefix("exec "))
    assert words[0] == "/opt/transom/.venv/bin/transom"
    parser().parse_args(words[1:])
    assert read["Service"]["NoNewPrivileges"] == "yes"
    assert read["Service"]["User"] == "transom"


def instructions() -> list[tuple[str, str]]:
    lines = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", CONTAINER)).splitlines()
    found = [line.partition(" ") for line in lines if line.strip()]
    return [(name, rest.strip()) for name, _, rest in found]


def test_the_container_file_is_sound() -> None:
    known = {"FROM", "WORKDIR", "RUN", "COPY", "ENV", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL",
             "HEALTHCHECK", "ENTRYPOINT", "CMD"}  # fmt: skip
    found = instructions()
    assert {name for name, _ in found} <= known
    for name, rest in found:
        words = rest.split()
        if name == "FROM":
            assert re.search(r":\d+\.\d+", words[0]), "an image with a version"
        if name == "COPY" and not words[0].startswith("--from"):
            missing = [word for word in words[:-1] if not (ROOT / word).exists()]
            assert missing == []
        if name in ("ENTRYPOINT", "CMD"):
            json.loads(rest)  # not through a shell, so that signals reach us
    last = {name: rest for name, rest in found if name in ("USER", "ENTRYPOINT", "CMD")}
    assert last["USER"] not in ("root", "0")
    parser().parse_args([*json.loads(last["ENTRYPOINT"])[1:], *json.loads(last["CMD"])])
    assert all("--require-hashes" in rest or "--no-deps" in rest
               for name, rest in found if "pip install" in rest)  # fmt: skip


def test_the_container_file_sets_options_that_there_are() -> None:
    named = re.findall(rf"{ENVIRONMENT_PREFIX}([A-Z]+)__([A-Z_]+)", CONTAINER)
    assert len(named) >= 4
    for section, option in named:
        options = SECTIONS[section.lower()].__dataclass_fields__
        assert option.lower() in options, f"[{section.lower()}] has no {option.lower()}"


def test_an_installation_holds_every_file_that_the_program_reads(tmp_path: Path) -> None:
    """As the container file installs: not in place, so that what is not packaged is missing."""
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-deps",
         "--no-build-isolation", "--target", str(tmp_path), str(ROOT)],
        check=True, capture_output=True, timeout=110,
    )  # fmt: skip
    source = ROOT / "src"
    wanted = {
        str(path.relative_to(source))
        for path in (source / "transom").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    there = {str(path.relative_to(tmp_path)) for path in (tmp_path / "transom").rglob("*")}
    assert wanted <= there


METRIC = re.compile(r"\btransom_[a-z_]+\b")


def expressions() -> dict[str, str]:
    """Where it stands -> what is asked of Prometheus there."""
    alerts = yaml.safe_load((MONITORING / "alerts.yaml").read_text())
    found = {rule["alert"]: rule["expr"] for group in alerts["groups"] for rule in group["rules"]}
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    return found


def test_only_metrics_that_there_are_are_asked_for(tmp_path: Path) -> None:
    def seen() -> bytes:
        """The figures, once the queues have been looked at."""
        _, text = get(stack.url + "/metrics")
        return text if b"transom_queue_depth" in text else b""

    with running(tmp_path / "data") as stack:
        text = wait_for(seen)
    shown = set(re.findall(r"(?m)^(transom_[a-z_]+)", text.decode()))
    documented = set(METRIC.findall((ROOT / "docs" / "reference" / "metrics.md").read_text()))
    assert shown <= documented | {name.removesuffix("_created") for name in documented} | {
        f"{name}_{end}" for name in documented for end in ("bucket", "count", "sum", "created")
    }
    promised = set(re.findall(r"(?m)^# TYPE (\w+)", text.decode()))
    assert {name for name in documented - promised if "_tls_" not in name} == set()
    for where, expression in expressions().items():
        assert expression.count("(") == expression.count(")"), where
        names = set(METRIC.findall(expression))
        assert names or "up{" in expression, where
        unknown = {name.removesuffix("_bucket") for name in names} - documented
        assert unknown == set(), where


def test_each_alert_says_how_bad_it_is_and_what_to_do() -> None:
    alerts = yaml.safe_load((MONITORING / "alerts.yaml").read_text())
    rules = [rule for group in alerts["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) >= 8
    for rule in rules:
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["action"]
