# SPDX-License-Identifier: Apache-2.0
"""The configuration of a process: which sections there are, and where their values come from."""

import json
import os
import re
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from transom.errors import ConfigError
from transom.identity.config import IdentityConfig
from transom.node.folder import DataFolder, RuntimeFolder
from transom.queue.config import QueueConfig
from transom.runtime.config import Config, load, option
from transom.runtime.http.limits import HttpLimits
from transom.runtime.secrets import Secret

FILE_NAME = "transom.toml"
_ADDRESS = re.compile(r"https?://[^/\s@?#]+(/[^\s?#]*)?")


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """Where the doors are."""

    host: str = option("127.0.0.1", "Address that the doors listen on.")
    port: int = option(8720, "Port of all doors; 0 takes any free one.", least=0, most=65535)
    public_url: str = option(
        "", "What clients reach the doors by, where it is not http://host:port."
    )
    plain_http_anywhere: bool = option(
        False, "Allow plain HTTP on other addresses than loopback, as behind a TLS proxy."
    )


@dataclass(frozen=True, slots=True)
class KeystoneConfig:
    """A real Keystone. Without `auth_url` the embedded identity service is used."""

    auth_url: str = option("", "Its address, as in OS_AUTH_URL. Empty: embedded identity.")
    username: str = option("transom", "The service user that validates tokens.")
    password: Secret = option(Secret(""), "Its password.")
    project_name: str = option("service", "Its project.")
    domain_id: str = option("default", "Domain of the user and of the project.")


@dataclass(frozen=True, slots=True)
class BusConfig:
    """The bus."""

    url: str = option("", "Its address. Empty: brokerless, in the runtime folder of this machine.")


@dataclass(frozen=True, slots=True)
class LogConfig:
    """What is logged, to one file a role in the data folder's `logs`."""

    level: str = option(
        "INFO", "DEBUG, INFO, WARNING or ERROR.", choices=("DEBUG", "INFO", "WARNING", "ERROR")
    )
    requests: bool = option(False, "Log a line for each request, too.")


SECTIONS: Mapping[str, type[Any]] = {
    "api": ApiConfig,
    "http": HttpLimits,
    "keystone": KeystoneConfig,
    "bus": BusConfig,
    "identity": IdentityConfig,
    "queue": QueueConfig,
    "log": LogConfig,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a role is told: its configuration, the data folder, the address of the doors.

    `file` is the configuration file in use, or None; the environment counts in every process.
    """

    config: Config
    data: DataFolder
    file: Path | None
    public_url: str

    @classmethod
    def read(cls, data: Path, file: Path | None, public_url: str = "") -> Self:
        """Raises: ConfigError."""
        folder = DataFolder(data)
        usual = folder.path / FILE_NAME
        chosen = file or (usual if os.path.lexists(usual) else None)
        config = load(SECTIONS, chosen, os.environ)
        keystone, api = config.section(KeystoneConfig), config.section(ApiConfig)
        for name, address in (
            ("[keystone] auth_url", keystone.auth_url),
            ("[api] public_url", api.public_url),
        ):
            if address and _ADDRESS.fullmatch(address) is None:
                raise ConfigError(f"{name}: {address!r} is no address; write http://host:port")
        if keystone.auth_url and not keystone.password:
            raise ConfigError(
                "[keystone] auth_url is set and password is not; set both, or neither"
            )
        return cls(config, folder, chosen, public_url)

    @classmethod
    def of(cls, options: Namespace) -> Self:
        """From the options that every command has."""
        return cls.read(options.data_dir, options.config)

    @property
    def runtime_folder(self) -> RuntimeFolder:
        chosen = os.environ.get("XDG_RUNTIME_DIR")
        return RuntimeFolder(self.data.path, Path(chosen) if chosen else None)

    @property
    def bus_url(self) -> str:
        """Embedded: where the family's sockets are, whatever XDG_RUNTIME_DIR says to us."""
        if url := self.config.section(BusConfig).url:
            return url
        state = self.data.read_state()
        folder = state.runtime_folder if state else self.runtime_folder.path
        return f"zmq://{quote(os.fsencode(folder))}"

    def encode(self) -> bytes:
        """For a role's payload. The role reads file and environment itself: no secret is in it."""
        file = None if self.file is None else str(self.file)
        return json.dumps([str(self.data.path), file, self.public_url]).encode()

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        data, file, public_url = json.loads(payload)
        return cls.read(Path(data), None if file is None else Path(file), public_url)
