# SPDX-License-Identifier: Apache-2.0
"""Which registry of the bus a host serves, if any.

Without `[bus] url` that of the runtime folder; with a zmq bus between hosts the one at
`[bus] serve_registry`, if that is set; any other bus has none.
"""

from transom.cli.settings import BusConfig, Settings
from transom.errors import ConfigError
from transom.messaging.url import TransportURL
from transom.runtime.clock import SystemClock
from transom.runtime.lifecycle import Service


def registry(settings: Settings) -> Service | None:
    """Ours to run. Raises: ConfigError, InvalidTransportURL."""
    from transom.messaging.drivers.zmq import RegistryServer

    bus = settings.config.section(BusConfig)
    if not bus.url:
        if bus.serve_registry:
            raise ConfigError(
                "[bus] serve_registry is for a bus between hosts; set [bus] url, too, like "
                "zmq://10.0.0.5/"
            )
        return RegistryServer(settings.runtime_folder.path, clock=SystemClock())
    if not bus.serve_registry:
        return None
    url = TransportURL.parse(settings.bus_url)
    if url.driver != "zmq" or not url.hosts:
        raise ConfigError("[bus] serve_registry is for a zmq bus between hosts only; leave it out")
    key_file = url.query.get("key_file", "")
    if not key_file:
        raise ConfigError("[bus] serve_registry needs [bus] key_file: what it serves is sealed")
    from transom.messaging.drivers.zmq.tcp import TcpSeat

    return RegistryServer(TcpSeat(bus.serve_registry, key_file), clock=SystemClock())
