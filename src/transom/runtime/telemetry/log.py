# SPDX-License-Identifier: Apache-2.0
"""Logs: a constant message and its fields, as one JSON object a line or as text for a terminal.

Invariants:
1. One record is one line, whatever its fields hold: nothing that came from outside can look like
   a line of its own or move a terminal's cursor.
2. Every line made on behalf of a request carries its request and project ids (`correlation`).
3. A `Secret` shows as `***`; a field that cannot be shown never loses its line.
"""

import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec

from transom.runtime.telemetry.correlation import current

_STANDARD = frozenset(
    [*vars(logging.LogRecord("", 0, "", 0, "", None, None)), "message", "asctime", "taskName"]
)


def configure(
    level: str = "INFO",
    *,
    stream: TextIO | None = None,
    handler: logging.Handler | None = None,
    human: bool = False,
    role: str = "",
) -> None:
    """Sends the whole process's log to `handler`, or to one stream, standard error unless given.

    `human`: text instead of JSON. `role`: the process's, in every line. May be called again; the
    last call holds.
    """
    handler = handler or logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(HumanFormatter(role) if human else JsonFormatter(role))
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old.formatter, _LineFormatter):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)


class _LineFormatter(logging.Formatter):
    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """What the line says beside its time, level, logger and message."""
        fields: dict[str, Any] = {"role": self._role} if self._role else {}
        context = current.get()
        if context is not None:
            fields["request_id"] = context.request_id
            if context.project_id:
                fields["project_id"] = context.project_id
        for name, value in vars(record).items():
            if name not in _STANDARD:
                fields[name] = value
        if record.exc_info and record.exc_info[0] is not None:
            fields["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            fields["stack"] = record.stack_info
        return fields

    def text(self, record: logging.LogRecord) -> str:
        try:
            return record.getMessage()
        except (TypeError, ValueError, KeyError):
            return str(record.msg)

    def moment(self, record: logging.LogRecord) -> datetime:
        return datetime.fromtimestamp(record.created, UTC)


class JsonFormatter(_LineFormatter):
    """`time` (RFC 3339, UTC), `level`, `logger`, `message`, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.moment(record).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self.text(record),
            **self.fields(record),
        }
        try:
            return msgspec.json.encode(line, enc_hook=_plain).decode()
        except (TypeError, ValueError, RecursionError):
            shown = {name: _plain(value) for name, value in line.items()}
            return msgspec.json.encode(shown).decode()


class HumanFormatter(_LineFormatter):
    """Time of day, level, message, fields; tracebacks below, indented."""

    def format(self, record: logging.LogRecord) -> str:
        fields = self.fields(record)
        below = [fields.pop(name, "") for name in ("exception", "stack")]
        shown = " ".join(f"{name}={_plain(value)}" for name, value in fields.items())
        moment = self.moment(record).astimezone().strftime("%H:%M:%S.%f")[:-3]
        line = f"{moment} {record.levelname.lower():7} {_plain(self.text(record))} {shown}"
        indented = [
            f"\n    {_plain(text)}" for block in below if block for text in block.splitlines()
        ]
        return line.rstrip() + "".join(indented)


def _plain(value: object) -> str:
    """The value as printable text, on one line."""
    try:
        text = str(value)
    except Exception as error:  # noqa: BLE001 Safety: no field may cost its line
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
