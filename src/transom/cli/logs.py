# SPDX-License-Identifier: Apache-2.0
"""Where a process's log goes: one file a role in the data folder, never more than four of them.

Invariant: logs take at most `FILE_BYTES * (1 + OLD_FILES)` a role; the oldest lines go.
"""

import logging
from logging.handlers import RotatingFileHandler

from transom.cli.settings import LogConfig, Settings
from transom.errors import ConfigError
from transom.runtime.telemetry import log
from transom.runtime.telemetry.audit import AuditLog

AUDIT_FILE = "audit.log"
REQUESTS = "transom.http.requests"
FILE_BYTES = 16 << 20
OLD_FILES = 3


def log_to_file(settings: Settings, role: str) -> None:
    """Raises: ConfigError."""
    path = settings.data.logs / f"{role}.log"
    try:
        handler = RotatingFileHandler(path, "a", FILE_BYTES, OLD_FILES, encoding="utf-8")
        path.chmod(0o600)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written: {error.strerror}; move it away, or repair its folder"
        ) from error
    chosen = settings.config.section(LogConfig)
    logging.raiseExceptions = False  # a full disk costs log lines; it does not fill the terminal
    log.configure(chosen.level, handler=handler, role=role)
    logging.getLogger(REQUESTS).setLevel(chosen.level if chosen.requests else logging.WARNING)


def audit_log(settings: Settings) -> AuditLog | None:
    """The data folder's, which all its doors append to; not started. None where it is off."""
    chosen = settings.config.section(LogConfig)
    if chosen.audit == "off":
        return None
    return AuditLog(
        settings.data.logs / AUDIT_FILE,
        file_bytes=chosen.audit_file_bytes,
        old_files=chosen.audit_old_files,
        needed=chosen.audit == "required",
    )
