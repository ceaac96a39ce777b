# SPDX-License-Identifier: Apache-2.0
"""A part's policy file: what an operator changes of its access rules, read again as it changes.

The file is YAML (or JSON): rule names and what they are to be, laid over the declared defaults.

Invariants:
1. A file that cannot be understood in every line is not used: at the start it is a ConfigError,
   later the last good rules stay, and the log says why once for each broken version.
2. A name that nothing asks for, and a condition that can never hold, are warned about with what
   was probably meant; nothing of the file is ignored in silence.
3. A changed file is taken once it has stayed the same from one look to the next, so that one half
   written is not; a file that is gone changes nothing.

Source: https://docs.openstack.org/oslo.policy/latest/admin/policy-yaml-file.html
"""

import asyncio
import difflib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from transom.errors import ConfigError
from transom.runtime.auth.declared import AccessRule, defaults
from transom.runtime.auth.rule_language import Comparison, walked
from transom.runtime.auth.rules import (
    ADMIN,
    ATTRIBUTES,
    DEFAULT,
    IS_ADMIN,
    SEVERAL,
    Compiled,
    Rules,
    compiled,
    referred,
)

log = logging.getLogger(__name__)

LOOK_S = 2.0
FILE_BYTES_MAX = 1 << 20
WARNING = "the policy file cannot be used, and the last good rules hold; the log says why"
Signature = tuple[int, int, int]
"""(inode, size, time of the last change in nanoseconds)"""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a file came to. `warnings`: for people, one sentence each."""

    rules: Compiled
    warnings: tuple[str, ...] = ()


class PolicyFile:
    """A `lifecycle.Service`: `rules` are the declared ones under the file at `path`.

    `path` None: under none. `needed`: the file was named, so it has to be there at the start.
    `problem`: why the present file is not in force, with words of it, or "". `part`: for log lines.
    """

    def __init__(
        self,
        part: str,
        path: Path | None,
        declared: Sequence[AccessRule],
        *,
        needed: bool = False,
    ) -> None:
        self.rules = Rules(defaults(declared))
        self.problem = ""
        self._part = part
        self._path = path
        self._declared = declared
        self._needed = needed
        self._taken: Signature | None = None
        self._seen: Signature | None = None
        self._watching: asyncio.Task[None] | None = None

    def warning(self) -> str:
        """What is wrong, for everybody's eyes: nothing of the file; "" if nothing."""
        return WARNING if self.problem else ""

    async def start(self) -> None:
        """Raises: ConfigError."""
        if self._path is None:
            return
        self._taken = self._seen = _signature(self._path)
        if self._taken is not None or self._needed:
            self._use(await asyncio.to_thread(self.read))
        if self._watching is None:
            name = f"{self._part} policy file"
            self._watching = asyncio.get_running_loop().create_task(
                self._watch(self._path), name=name
            )

    async def stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
            self._watching = None

    def read(self) -> Loaded:
        """What the file says now. Raises: ConfigError."""
        if self._path is None or not (self._needed or self._path.exists()):
            return Loaded(compiled(defaults(self._declared)))
        return loaded(self._path, self._declared)

    async def look(self, path: Path) -> None:
        """Takes a new version of the file, the second time that it is seen."""
        before, self._seen = self._seen, _signature(path)
        if self._seen is None and self._taken is not None:
            self._taken = None
            self._complain(f"{path} is gone; put it back, or an empty one for the defaults")
        elif self._seen not in (None, self._taken) and self._seen == before:
            await self._take(path, self._seen)

    async def _take(self, path: Path, signature: Signature | None) -> None:
        try:
            found = await asyncio.to_thread(loaded, path, self._declared)
        except ConfigError as error:
            self._complain(error.text)
        else:
            if signature != _signature(path):
                return  # it changed while it was read; the next looks decide
            self._use(found)
        self._taken = signature

    def _use(self, found: Loaded) -> None:
        for warning in found.warnings:
            log.warning("policy file", extra={"part": self._part, "warning": warning})
        self.rules.replace(found.rules)
        self.problem = ""
        log.info("access rules loaded", extra={"part": self._part, "file": str(self._path)})

    def _complain(self, problem: str) -> None:
        if problem != self.problem:
            fields = {"part": self._part, "reason": problem}
            log.error("policy file cannot be used; the last good rules stay", extra=fields)
        self.problem = problem

    async def _watch(self, path: Path) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look(path)
            except Exception:  # Safety: rules stay as they are, and the next look may succeed
                log.exception("looking at the policy file failed", extra={"part": self._part})


def _signature(path: Path) -> Signature | None:
    with suppress(OSError):
        found = path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns
    return None


def loaded(path: Path, declared: Sequence[AccessRule]) -> Loaded:
    """The declared rules under those of the file. Raises: ConfigError naming the file."""
    own = _read(path)
    try:
        rules = compiled({**defaults(declared), **own})
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.text}") from None
    return Loaded(rules, tuple(f"{path}: {text}" for text in _warnings(own, rules, declared)))


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
        if len(data) > FILE_BYTES_MAX:
            raise ConfigError(f"{path}: is larger than {FILE_BYTES_MAX} bytes")
        text = data.decode()
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; create it, or leave policy_file out") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return read_rules(text)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None


def read_rules(text: str) -> dict[str, Any]:
    """Name -> text, or list of checks. Raises: ValueError saying where and why."""
    if text.lstrip().startswith("{"):
        with suppress(json.JSONDecodeError, RecursionError):  # else it may be YAML in braces
            return _of_pairs(json.loads(text, object_pairs_hook=tuple))
    try:
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
        if root is None:
            return {}
        if not isinstance(root, yaml.MappingNode):
            raise ValueError('is no list of rules; write lines like "queues:create": "role:member"')
        return _of_pairs([(_name(key), _value(value, text)) for key, value in root.value])
    except yaml.YAMLError as error:
        raise ValueError(f"is neither YAML nor JSON: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _of_pairs(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"has rule {name!r} twice; leave one out")
        found[name] = value
    return found


def _name(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise ValueError(f"has something else than a rule's name{_where(node)}")
    return str(node.value)


def _value(node: yaml.Node, text: str) -> Any:
    """A text or a list. A bare `!`, which YAML takes for a tag, is no rule that allows all."""
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, text) for item in node.value]
    if not isinstance(node, yaml.ScalarNode):
        raise ValueError(f"has neither a text nor a list{_where(node)}")
    bare = not node.style and not node.value
    if node.tag != "tag:yaml.org,2002:str" or bare or text[node.start_mark.index] == "!":
        raise ValueError(
            f"has {node.value!r}{_where(node)}, which YAML takes for no text; put the rule in "
            "quotes: '' allows everybody, '!' nobody"
        )
    return node.value


def _where(node: yaml.Node) -> str:
    return f" in line {node.start_mark.line + 1}"


def _warnings(
    own: Mapping[str, Any], rules: Compiled, declared: Sequence[AccessRule]
) -> Iterator[str]:
    known = {rule.name for rule in declared}
    special = {DEFAULT, ADMIN} & own.keys()
    reached = {name: _reached(name, rules) for name in known | special}
    used = known.union(special, *reached.values())
    for name in own:
        if name not in used:
            yield f"rule {name!r} is asked for by nothing here{_nearest(name, known)}"
    for rule in declared:
        for name in sorted({rule.name, *reached[rule.name]} & own.keys()):
            for check in walked(rules.expressions[name]):
                if isinstance(check, Comparison):
                    yield from _never_holding(check, name, rule)


def _never_holding(check: Comparison, name: str, rule: AccessRule) -> Iterator[str]:
    attributes = [*ATTRIBUTES, *SEVERAL, IS_ADMIN]
    shown = f"{check.kind}:{check.match}"
    if check.literal is None and check.kind not in attributes:
        near = _nearest(check.kind, attributes)
        yield f"rule {name!r}: {shown!r} never holds: callers have no {check.kind!r}{near}"
    missing = sorted(set(check.fields) - set(rule.targets))
    if missing and rule.operations:
        has = f"it has {', '.join(rule.targets)}" if rule.targets else "it has none"
        yield (
            f"rule {name!r}: {shown!r} never holds in {rule.name!r}, whose target has no "
            f"{', '.join(missing)}; {has}"
        )


def _reached(name: str, rules: Compiled) -> set[str]:
    """All rules that the named one refers to, however indirectly."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        further = referred(rules.expressions[waiting.pop()], rules.expressions) - found
        found |= further
        waiting += further
    return found


def _nearest(name: str, known: Sequence[str] | set[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""
