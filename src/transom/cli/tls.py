# SPDX-License-Identifier: Apache-2.0
"""TLS at the doors, from settings."""

from typing import TYPE_CHECKING

from transom.cli.settings import ApiConfig, Settings
from transom.errors import ConfigError
from transom.runtime.clock import Clock

if TYPE_CHECKING:
    from transom.runtime.http.tls import Certificate


def certificate(settings: Settings, clock: Clock) -> "Certificate | None":
    """What the doors show, not started; None where they speak plain HTTP. Raises: ConfigError."""
    from transom.runtime.http.tls import Certificate

    api, folder = settings.config.section(ApiConfig), settings.data.path
    if not api.tls_certificate:
        return None
    return Certificate(folder / api.tls_certificate, folder / api.tls_key, clock)


def ca_file(settings: Settings) -> str:
    """What clients have to trust to trust the doors; "" if they do anyway. Raises: ConfigError."""
    api, folder = settings.config.section(ApiConfig), settings.data.path
    if not api.tls_certificate:
        return ""
    if api.tls_ca:
        path = folder / api.tls_ca
        if not path.is_file():
            raise ConfigError(f"[api] tls_ca: {path} is no file")
        return str(path)
    from transom.runtime.http.tls import is_self_signed

    path = folder / api.tls_certificate
    return str(path) if is_self_signed(path) else ""
