# SPDX-License-Identifier: Apache-2.0
"""Configuration: a TOML file and the environment become frozen dataclasses, once, at start.

A section is a frozen dataclass whose fields are made by `option`. Environment variables are named
`TRANSOM_<SECTION>__<OPTION>` and win over the file. Other variables that begin with `TRANSOM_` are
left alone (container platforms make some up), but for one underscore where two belong.

Invariants:
1. Nothing else reads configuration files or the environment.
2. An unknown section or option, a wrong type or a value out of bounds is one `ConfigError` that
   names the key, where it stands, and what would be right; all of them are told at once.
"""

import dataclasses
import difflib
import math
import tomllib
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from transom.errors import ConfigError
from transom.runtime.secrets import Secret

ENVIRONMENT_PREFIX = "TRANSOM_"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OptionMeta:
    """What the reference says of an option."""

    meaning: str
    unit: str = ""
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()


def option(
    default: Any,
    meaning: str,
    *,
    unit: str = "",
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A dataclass field.

    `least` and `most` are inclusive bounds of a number; `choices`, if any, are all that a text may
    be.
    """
    meta = OptionMeta(meaning, unit, least, most, choices)
    return dataclasses.field(default=default, metadata={"option": meta})


@dataclass(frozen=True, slots=True)
class Shown:
    """One option as it is now, for `config show` and the reference."""

    section: str
    name: str
    value: Any
    default: Any
    origin: str
    meta: OptionMeta


@dataclass(frozen=True, slots=True)
class Config:
    """All sections of a process. `origins`: (section, option) -> where its value came from."""

    sections: Mapping[str, Any]
    origins: Mapping[tuple[str, str], str]

    def section(self, kind: type[T]) -> T:
        for value in self.sections.values():
            if isinstance(value, kind):
                return value
        raise KeyError(kind.__name__)

    def shown(self) -> Iterable[Shown]:
        for name, value in self.sections.items():
            for field in dataclasses.fields(value):
                origin = self.origins.get((name, field.name), "default")
                yield Shown(
                    name,
                    field.name,
                    getattr(value, field.name),
                    field.default,
                    origin,
                    field.metadata["option"],
                )


def load(
    kinds: Mapping[str, type[Any]], file: Path | None, environment: Mapping[str, str]
) -> Config:
    """Reads, checks and freezes. `kinds`: section name -> its dataclass.

    Raises: ConfigError with every fault found, one a line.
    """
    faults: list[str] = []
    given = _from_file(file, kinds, faults)
    given.update(_from_environment(environment, kinds, faults))
    values: dict[str, dict[str, Any]] = {name: {} for name in kinds}
    origins: dict[tuple[str, str], str] = {}
    for (section, name), (raw, origin) in given.items():
        field = _fields(kinds[section]).get(name)
        if field is None:
            faults.append(
                _unknown(f"option {name!r} in [{section}]", name, _fields(kinds[section]), origin)
            )
            continue
        try:
            values[section][name] = _convert(kinds[section], field, raw)
            origins[(section, name)] = origin
        except ValueError as error:
            faults.append(f"{origin}: [{section}] {name}: {error}")
    if faults:
        raise ConfigError("\n".join(faults))
    return Config({name: kind(**values[name]) for name, kind in kinds.items()}, origins)


Given = dict[tuple[str, str], tuple[Any, str]]


def _from_file(file: Path | None, kinds: Mapping[str, type[Any]], faults: list[str]) -> Given:
    if file is None:
        return {}
    try:
        document = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{file}: no such file; create it or leave --config out") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not TOML: {error}") from error
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    given: Given = {}
    for section, options in document.items():
        if section not in kinds:
            faults.append(_unknown(f"section [{section}]", section, kinds, str(file)))
        elif not isinstance(options, dict):
            faults.append(f"{file}: {section!r} is a section: write [{section}] on a line")
        else:
            for name, raw in options.items():
                given[(section, name)] = (raw, str(file))
    return given


def _from_environment(
    environment: Mapping[str, str], kinds: Mapping[str, type[Any]], faults: list[str]
) -> Given:
    given: Given = {}
    for variable, raw in environment.items():
        section, separator, name = variable.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
        if not variable.startswith(ENVIRONMENT_PREFIX):
            continue
        if not separator:
            faults.extend(_nearly(variable, section, kinds))
            continue
        if section not in kinds:
            faults.append(_unknown(f"section [{section}]", section, kinds, variable))
        else:
            given[(section, name)] = (raw, variable)
    return given


def _nearly(variable: str, name: str, kinds: Mapping[str, type[Any]]) -> Iterable[str]:
    for section, kind in kinds.items():
        if name.startswith(f"{section}_") and name.removeprefix(f"{section}_") in _fields(kind):
            meant = f"{section}__{name.removeprefix(f'{section}_')}".upper()
            yield f"{variable}: is not read; write {ENVIRONMENT_PREFIX}{meant}, or unset it"


def _unknown(what: str, name: str, known: Iterable[str], origin: str) -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(sorted(known))}"
    return f"{origin}: unknown {what}; {hint}"


def _fields(kind: type[Any]) -> dict[str, dataclasses.Field[Any]]:
    return {field.name: field for field in dataclasses.fields(kind)}


def _convert(kind: type[Any], field: dataclasses.Field[Any], raw: Any) -> Any:
    expected = typing.get_type_hints(kind)[field.name]
    if isinstance(expected, types.UnionType):
        expected = next(arm for arm in expected.__args__ if arm is not types.NoneType)
    value = _from_text(expected, raw) if isinstance(raw, str) else _from_toml(expected, raw)
    meta: OptionMeta = field.metadata["option"]
    numbers = value if isinstance(value, tuple) else (value,)
    for number in numbers:
        if isinstance(number, float) and not math.isfinite(number):
            raise ValueError(f"{raw!r} is not {_named(float)}")
        if meta.choices and number not in meta.choices:
            raise ValueError(f"{number!r} is none of {', '.join(meta.choices)}")
        if meta.least is not None and number < meta.least:
            raise ValueError(f"{number} is below the least, {meta.least} {meta.unit}".rstrip())
        if meta.most is not None and number > meta.most:
            raise ValueError(f"{number} is above the most, {meta.most} {meta.unit}".rstrip())
    return value


_TRUTH = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


def _from_text(expected: Any, raw: str) -> Any:
    if expected is bool:
        if raw.lower() not in _TRUTH:
            raise ValueError(f"{raw!r} is neither true nor false")
        return _TRUTH[raw.lower()]
    if typing.get_origin(expected) is tuple:
        item = typing.get_args(expected)[0]
        return tuple(_from_text(item, part.strip()) for part in raw.split(",") if part.strip())
    made: Callable[[str], Any] = expected
    try:
        return made(raw)
    except ValueError as error:
        raise ValueError(f"{raw!r} is not {_named(expected)}") from error


def _from_toml(expected: Any, raw: Any) -> Any:
    if typing.get_origin(expected) is tuple and isinstance(raw, list):
        item = typing.get_args(expected)[0]
        return tuple(
            _from_text(item, part) if isinstance(part, str) else _from_toml(item, part)
            for part in raw
        )
    if expected is float and type(raw) is int:
        return float(raw)
    if type(raw) is not expected:
        shown = "this" if expected is Secret else repr(raw)
        raise ValueError(f"{shown} is not {_named(expected)}")
    return raw


def _named(expected: Any) -> str:
    if typing.get_origin(expected) is tuple:
        return "a list"
    names = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "a text",
        Path: "a path",
        Secret: "a text",
    }
    return names.get(expected, str(expected))
