# SPDX-License-Identifier: Apache-2.0
"""Configuration: what is given arrives, what cannot be used is told, all of it at once."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.errors import ConfigError
from transom.runtime.config import load, option
from transom.runtime.secrets import Secret


@dataclass(frozen=True)
class Door:
    port: int = option(8720, "where the door listens", least=0, most=65535)
    ratio: float = option(0.5, "a share")
    open: bool = option(False, "whether it stands open")
    names: tuple[str, ...] = option((), "who may pass")
    password: Secret = option(Secret(""), "what opens it")
    limit: int | None = option(None, "how many may pass", unit="people", least=1)
    colour: str = option("red", "how it looks", choices=("red", "green"))


KINDS = {"door": Door}


def write(path: Path, text: str) -> Path:
    file = path / "transom.toml"
    file.write_text(text)
    return file


def test_without_a_file_all_values_are_the_defaults() -> None:
    assert load(KINDS, None, {}).section(Door) == Door()


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "[door]\nport = 1\nratio = 2\n")
    config = load(KINDS, file, {"TRANSOM_DOOR__PORT": "3", "PATH": "/bin"})
    assert config.section(Door) == Door(port=3, ratio=2.0)
    origins = {shown.name: shown.origin for shown in config.shown()}
    assert origins["port"] == "TRANSOM_DOOR__PORT"
    assert origins["ratio"] == str(file)
    assert origins["open"] == "default"


def test_every_kind_of_value_is_read_from_both_places(tmp_path: Path) -> None:
    file = write(
        tmp_path, '[door]\nopen = true\nnames = ["a", "b"]\npassword = "p"\nlimit = 4\nratio = 1\n'
    )
    environment = {
        "TRANSOM_DOOR__OPEN": "yes", "TRANSOM_DOOR__NAMES": "a, b", "TRANSOM_DOOR__PASSWORD": "p",
        "TRANSOM_DOOR__LIMIT": "4", "TRANSOM_DOOR__RATIO": "1",
    }  # fmt: skip
    expected = Door(open=True, names=("a", "b"), password=Secret("p"), limit=4, ratio=1.0)
    assert load(KINDS, file, {}).section(Door) == expected
    assert load(KINDS, None, environment).section(Door) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[dor]\n", "unknown section [dor]; did you mean 'door'?"),
        ("[door]\nprot = 1\n", "unknown option 'prot' in [door]; did you mean 'port'?"),
        ("[door]\nzzz = 1\n", "known are: colour, limit, names"),
        ('[door]\ncolour = "blue"\n', "[door] colour: 'blue' is none of red, green"),
        ("[door]\nratio = nan\n", "[door] ratio: nan is not a number"),
        ("[door]\npassword = 5511\n", "[door] password: this is not a text"),
        ('[door]\nport = "x"\n', "[door] port: 'x' is not a whole number"),
        ("[door]\nport = true\n", "[door] port: True is not a whole number"),
        ("[door]\nport = 70000\n", "70000 is above the most, 65535"),
        ("[door]\nlimit = 0\n", "0 is below the least, 1 people"),
        ("[door]\nopen = 1\n", "1 is not true or false"),
        ('[door]\nopen = "perhaps"\n', "'perhaps' is neither true nor false"),
        ("[door]\nnames = 1\n", "1 is not a list"),
        ("door = 1\n", "write [door] on a line"),
        ("[door\n", "not TOML"),
    ],
)
def test_what_cannot_be_used_is_named_with_what_to_do(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(KINDS, write(tmp_path, text), {})
    assert says in raised.value.text
    assert "transom.toml" in raised.value.text


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    file = write(tmp_path, "[door]\nprot = 1\nport = -1\n")
    with pytest.raises(ConfigError) as raised:
        load(KINDS, file, {"TRANSOM_DOOR__OPEN": "perhaps", "TRANSOM_X__Y": "1"})
    assert len(raised.value.text.splitlines()) == 4


def test_a_variable_with_one_underscore_too_few_is_told_and_others_are_left_alone() -> None:
    with pytest.raises(ConfigError, match="TRANSOM_DOOR_PORT: is not read; write TRANSOM_DOOR__PO"):
        load(KINDS, None, {"TRANSOM_DOOR_PORT": "1"})
    assert load(KINDS, None, {"TRANSOM_PORT": "tcp://1", "TRANSOM_DOOR_SERVICE_HOST": "x"})


def test_a_missing_or_unreadable_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load(KINDS, tmp_path / "none.toml", {})
    with pytest.raises(ConfigError, match="cannot be read"):
        load(KINDS, tmp_path, {})


@given(st.integers(0, 65535), st.booleans(), st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_survive_the_environment(port: int, is_open: bool, ratio: float) -> None:
    environment = {
        "TRANSOM_DOOR__PORT": str(port), "TRANSOM_DOOR__OPEN": str(is_open),
        "TRANSOM_DOOR__RATIO": repr(ratio),
    }  # fmt: skip
    expected = Door(port=port, open=is_open, ratio=ratio)
    assert load(KINDS, None, environment).section(Door) == expected


def test_a_section_that_is_not_there_is_a_programming_error() -> None:
    with pytest.raises(KeyError):
        load({}, None, {}).section(Door)
