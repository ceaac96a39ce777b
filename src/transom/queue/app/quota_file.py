# SPDX-License-Identifier: Apache-2.0
"""The file of projects whose limits are not the usual ones, read again as it changes.

    # limits/queue.yaml
    3f1c0c9e6d1b4f7b9f2a4c5d6e7f8091: {queues: 100000, messages: 5000000, bytes: 10737418240}

Invariants:
1. A file that cannot be understood whole is not used: at the start it is a ConfigError, later the
   last good limits stay, and the log says why once for each broken version.
2. A changed file is taken once it has stayed the same from one look to the next, so that one half
   written is not. Where the file is gone, the usual limits are everybody's.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml

from transom.errors import ConfigError
from transom.queue.logic.quota import Limits, Quotas

log = logging.getLogger(__name__)

LOOK_S = 2.0
FILE_BYTES_MAX = 16 << 20
MOST = (1 << 63) - 1
NAMES = tuple(field.name for field in fields(Limits))
Signature = tuple[int, int, int]
"""(inode, size, time of the last change in nanoseconds)"""


class QuotaFile:
    """A `lifecycle.Service`: keeps `quotas` as the file says. `path` None: there is none.

    `problem`: why the present file is not in force, or "".
    """

    def __init__(self, path: Path | None, quotas: Quotas) -> None:
        self.problem = ""
        self._path = path
        self.quotas = quotas
        self._taken: Signature | None = None
        self._seen: Signature | None = None
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises: ConfigError."""
        if self._path is None or self._watching is not None:
            return
        self._taken = self._seen = _signature(self._path)
        if self._taken is not None:
            self.quotas.replace(await asyncio.to_thread(read, self._path, self.quotas.usual))
        self._watching = asyncio.get_running_loop().create_task(
            self._watch(self._path), name="queue limits file"
        )

    async def stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
            self._watching = None

    async def look(self, path: Path) -> None:
        """Takes a new version of the file, the second time that it is seen."""
        before, self._seen = self._seen, _signature(path)
        if self._seen == self._taken or self._seen != before:
            return
        seen = self._seen
        try:
            found: Mapping[str, Limits] = {}
            if seen is not None:
                found = await asyncio.to_thread(read, path, self.quotas.usual)
        except ConfigError as error:
            if error.text != self.problem:
                fields = {"reason": error.text}
                log.error("limits file cannot be used; the last good limits stay", extra=fields)
            self.problem = error.text
        else:
            if seen != _signature(path):
                return  # it changed while it was read; the next looks decide
            self.quotas.replace(found)
            self.problem = ""
            log.info("limits loaded", extra={"file": str(path), "projects": len(found)})
        self._taken = seen

    async def _watch(self, path: Path) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look(path)
            except Exception:  # Safety: limits stay as they are, and the next look may succeed
                log.exception("looking at the limits file failed")


def read(path: Path, usual: Limits) -> dict[str, Limits]:
    """The limits of the projects named in the file. Raises: ConfigError naming the file."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
        if len(data) > FILE_BYTES_MAX:
            raise ConfigError(f"{path}: is larger than {FILE_BYTES_MAX} bytes")
        return parsed(data.decode(), usual)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None


def parsed(text: str, usual: Limits) -> dict[str, Limits]:
    """Project id -> limits; what is not said of a project is as usual. Raises: ValueError."""
    try:
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"is no YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if root is None:
        return {}
    found: dict[str, Limits] = {}
    for project_id, value in _pairs(root):
        if project_id in found:
            raise ValueError(f"has project {project_id!r} twice; leave one out")
        found[project_id] = _limits(project_id, value, usual)
    return found


def _limits(project_id: str, node: Any, usual: Limits) -> Limits:
    given: dict[str, int] = {}
    for name, value in _pairs(node):
        if name not in NAMES or name in given:
            wrong = "twice" if name in given else f"that is none of {', '.join(NAMES)}"
            raise ValueError(f"has a limit {name!r} of project {project_id!r} {wrong}")
        text = value.value if isinstance(value, yaml.ScalarNode) else ""
        if not (text.isascii() and text.isdigit()) or int(text) > MOST:
            raise ValueError(
                f"has {name!r} of project {project_id!r}{_where(value)}: write a whole number; "
                "0 is without limit"
            )
        given[name] = int(text)
    return replace(usual, **given)


def _pairs(node: Any) -> list[tuple[str, Any]]:
    if not isinstance(node, yaml.MappingNode):
        raise ValueError(f"has no `name: value`{_where(node)}; write `PROJECT: {{queues: 100}}`")
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or not key.value:
            raise ValueError(f"has something else than a name{_where(key)}")
    return [(key.value, value) for key, value in node.value]


def _where(node: Any) -> str:
    return f" in line {node.start_mark.line + 1}"


def _signature(path: Path) -> Signature | None:
    with suppress(OSError):
        found = path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns
    return None
