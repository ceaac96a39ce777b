# SPDX-License-Identifier: Apache-2.0
"""A transport on the bus of the settings, with the security that they tell: the same for roles and
for commands. All processes of a data folder are one party, whose key file is `[bus] security_file`.
"""

from typing import TYPE_CHECKING

from transom.cli.settings import BusConfig, Settings
from transom.errors import ConfigError
from transom.messaging import Transport, connect
from transom.runtime.clock import Clock

if TYPE_CHECKING:
    from transom.messaging.secured import Security


def connect_bus(settings: Settings, clock: Clock | None = None) -> Transport:
    """Not entered. Raises: InvalidTransportURL, ConfigError."""
    return connect(settings.bus_url, clock=clock, security=bus_security(settings))


def bus_security(settings: Settings) -> "Security | None":
    """None where there is none. Raises: ConfigError."""
    bus = settings.config.section(BusConfig)
    if bus.security == "none":
        return None
    from transom.messaging.secured import Security

    path = settings.data.path / bus.security_file
    try:
        security = Security.from_file(path, mode=bus.security, required=bus.security_required)
    except FileNotFoundError as error:
        raise ConfigError(
            f"[bus] security_file: {path} is not there; `transom keys add NAME --out {path}` "
            "makes one"
        ) from error
    security.check()
    return security
