# SPDX-License-Identifier: Apache-2.0
"""The configuration of a process: which sections there are, and where their values come from."""

import json
import os
import re
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from transom.cli.database_url import database_url, remember
from transom.errors import ConfigError
from transom.identity.config import IdentityConfig
from transom.keys.config import KeysConfig
from transom.messaging.url import TransportURL
from transom.node.folder import DataFolder, RuntimeFolder
from transom.queue.config import QueueConfig
from transom.runtime.config import Config, load, option
from transom.runtime.db.address import check_address
from transom.runtime.http.limits import HttpLimits
from transom.runtime.sealing import MASTER_KEY_FILE
from transom.runtime.secrets import Secret

FILE_NAME = "transom.toml"
NO_SECRET = Secret("")
PARTS = ("identity", "queue", "keys")
_ADDRESS = re.compile(r"https?://[^/\s@?#]+(/[^\s?#]*)?")


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """Where the doors are."""

    host: str = option("127.0.0.1", "Address that the doors listen on.")
    port: int = option(8720, "Port of all doors; 0 takes any free one.", least=0, most=65535)
    public_url: str = option(
        "", "What clients reach the doors by, where it is not http://host:port."
    )
    workers: int = option(
        1, "Processes that serve the doors of `transom up`, on one port.", least=1, most=64
    )
    parts: tuple[str, ...] = option(
        PARTS, "Parts that are served here; `transom run --only` chooses among them.", choices=PARTS
    )
    tls_certificate: str = option(
        "",
        "PEM file of the doors' certificate and what it was issued by; below the data folder, "
        "unless it begins with a slash. Empty: plain HTTP.",
    )
    tls_key: str = option("", "PEM file of its key, without a passphrase.")
    tls_ca: str = option(
        "",
        "PEM file of the authority that clients have to trust. Empty: the system's, or, if it is "
        "its own authority, the certificate.",
    )
    plain_http_anywhere: bool = option(
        False, "Allow plain HTTP on other addresses than loopback, as behind a TLS proxy."
    )

    @property
    def scheme(self) -> str:
        return "https" if self.tls_certificate else "http"

    @property
    def leaves_loopback(self) -> bool:
        """Whether the doors may be on other addresses."""
        return self.plain_http_anywhere or bool(self.tls_certificate)


@dataclass(frozen=True, slots=True)
class KeystoneConfig:
    """A real Keystone. Without `auth_url` the embedded identity service is used."""

    auth_url: str = option("", "Its address, as in OS_AUTH_URL. Empty: embedded identity.")
    username: str = option("transom", "The service user that validates tokens.")
    password: Secret = option(Secret(""), "Its password.")
    project_name: str = option("service", "Its project.")
    domain_id: str = option("default", "Domain of the user and of the project.")
    ca_file: str = option(
        "", "PEM file of authorities that are believed beside the system's, for https."
    )
    cache_s: int = option(
        300,
        "How long a token is believed without asking again: so late at most a revocation is seen, "
        "and so long a Keystone may be away before tokens in use are refused too.",
        unit="s",
        least=0,
        most=86_400,
    )


@dataclass(frozen=True, slots=True)
class DatabaseConfig:
    """Where the data are. Without `url`: in SQLite files in the data folder."""

    url: Secret = option(
        Secret(""),
        "A PostgreSQL database, as postgresql://user@host:port/database. Empty: the one that "
        "`transom up --database` was given on this folder, or files.",
    )
    pool_max: int = option(8, "Connections of one part in one process, at most.", least=2, most=200)
    statement_timeout_s: float = option(
        5.0,
        "Longest time of one statement. What waits longer for the database is told to try again.",
        unit="s",
        least=0.1,
        most=300,
    )


@dataclass(frozen=True, slots=True)
class BusConfig:
    """The bus."""

    url: str = option("", "Its address. Empty: brokerless, in the runtime folder of this machine.")
    key_file: str = option(
        "",
        "File of the key of a zmq bus between hosts, the same on each; below the data folder, "
        "unless it begins with a slash.",
    )
    serve_registry: str = option(
        "",
        "Address of this host, as 10.0.0.5:8730, at which a registry of a zmq bus between hosts is "
        "served here. Empty: other hosts serve them.",
    )
    security: str = option(
        "none",
        "What is done to messages: none, sign (it is sure whose they are), or encrypt (nobody else "
        "reads them, besides).",
        choices=("none", "sign", "encrypt"),
    )
    security_file: str = option(
        "",
        "Key file of the party that the processes of this folder are, as `transom keys add` writes "
        "it; below the data folder, unless it begins with a slash.",
    )
    security_required: bool = option(
        True,
        "Whether messages without it are dropped; false while not all processes of the bus have it "
        "yet.",
    )


@dataclass(frozen=True, slots=True)
class LogConfig:
    """What is logged, to one file a role in the data folder's `logs`."""

    level: str = option(
        "INFO", "DEBUG, INFO, WARNING or ERROR.", choices=("DEBUG", "INFO", "WARNING", "ERROR")
    )
    requests: bool = option(False, "Log a line for each request, too.")
    audit: str = option(
        "on",
        "The audit log of writes and denials, logs/audit.log: on, off, or required, which refuses "
        "writes while it cannot be written.",
        choices=("on", "off", "required"),
    )
    audit_file_bytes: int = option(
        100 << 20, "Size at which a new audit log is begun.", unit="bytes", least=1 << 20
    )
    audit_old_files: int = option(9, "How many older audit logs are kept.", least=0, most=10_000)


@dataclass(frozen=True, slots=True)
class SecretsConfig:
    """The master key under which secrets at rest are sealed."""

    master_key: Secret = option(
        Secret(""),
        "Base64 of 32 bytes; several, the newest first, while one is replaced. Empty: the systemd "
        "credential master.key if there is one, or else keys/master.key in the data folder.",
    )


SECTIONS: Mapping[str, type[Any]] = {
    "api": ApiConfig,
    "http": HttpLimits,
    "keystone": KeystoneConfig,
    "database": DatabaseConfig,
    "bus": BusConfig,
    "identity": IdentityConfig,
    "queue": QueueConfig,
    "keys": KeysConfig,
    "log": LogConfig,
    "secrets": SecretsConfig,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a role is told: its configuration, the data folder, the address of the doors.

    `file` is the configuration file in use, or None; the environment counts in every process.
    `only`: the parts that the command line chose; empty: all of `[api] parts`.
    """

    config: Config
    data: DataFolder
    file: Path | None
    public_url: str
    only: tuple[str, ...] = ()

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
        if re.search(r"/v2(\.\d+)?/?$", keystone.auth_url):
            raise ConfigError(
                f"[keystone] auth_url: {keystone.auth_url} is version 2 of Keystone's API, which "
                "is gone; write /v3"
            )
        if keystone.auth_url and not keystone.password:
            raise ConfigError(
                "[keystone] auth_url is set and password is not; set both, or neither"
            )
        if url := config.section(DatabaseConfig).url:
            check_address(url.reveal())
        if bool(api.tls_certificate) != bool(api.tls_key):
            raise ConfigError("[api] tls_certificate and tls_key go together; set both, or neither")
        bus = config.section(BusConfig)
        if bus.security != "none" and not bus.security_file:
            raise ConfigError(
                f"[bus] security is {bus.security} and security_file is not set; `transom keys add "
                "NAME --out FILE` makes one"
            )
        if not api.parts:
            raise ConfigError(f"[api] parts names none; there are {', '.join(PARTS)}")
        return cls(config, folder, chosen, public_url)

    @classmethod
    def of(cls, options: Namespace) -> Self:
        """From the options that every command has."""
        return cls.read(options.data_dir, options.config)

    @property
    def parts(self) -> tuple[str, ...]:
        """Those that are served here."""
        return self.only or self.config.section(ApiConfig).parts

    @property
    def likely_url(self) -> str:
        """Of this folder's doors as they are, or will be, for files; their next start may have
        others."""
        state, api = self.data.read_state(), self.config.section(ApiConfig)
        if api.public_url or (state and state.url):
            return (api.public_url or (state.url if state else "")).rstrip("/")
        return f"{api.scheme}://{api.host}:{api.port}"

    @property
    def identity_url(self) -> str:
        """Of the doors that serve embedded identity: ours, or those of another process.

        Raises: ConfigError if they cannot be known.
        """
        if "identity" in self.parts:
            return self.public_url
        if url := self.config.section(ApiConfig).public_url:
            return url
        state = self.data.read_state()
        if state is not None and state.url not in ("", self.public_url):
            return state.url
        raise ConfigError(
            "identity is not served here, so tokens must be asked about elsewhere; set "
            "[keystone] auth_url, or [api] public_url to where this folder's identity is served"
        )

    @property
    def database_url(self) -> Secret:
        """Of the server that has the data; empty: files of the folder have. Raises: ConfigError."""
        return database_url(self.data.path, self.config.section(DatabaseConfig).url)

    def remember_database(self, given: Secret = NO_SECRET) -> None:
        """So that later commands on the folder find it. `given`: on the command line."""
        remember(self.data.path, self.config.section(DatabaseConfig).url, given)

    @property
    def runtime_folder(self) -> RuntimeFolder:
        chosen = os.environ.get("XDG_RUNTIME_DIR")
        return RuntimeFolder(self.data.path, Path(chosen) if chosen else None)

    @property
    def master_keys(self) -> Secret:
        """The given ones; empty if they are the data folder's own. Raises: ConfigError."""
        given = self.config.section(SecretsConfig).master_key
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if given or not folder:
            return given
        credential = Path(folder) / MASTER_KEY_FILE
        return Secret(credential.read_text("ascii") if credential.exists() else "")

    @property
    def bus_url(self) -> str:
        """Embedded: where the family's sockets are, whatever XDG_RUNTIME_DIR says to us."""
        bus = self.config.section(BusConfig)
        if bus.url:
            return self._with_key(bus)
        state = self.data.read_state()
        folder = state.runtime_folder if state else self.runtime_folder.path
        return f"zmq://{quote(os.fsencode(folder))}"

    def _with_key(self, bus: BusConfig) -> str:
        url = TransportURL.parse(bus.url)
        if url.driver != "zmq" or not url.hosts or not bus.key_file or "key_file" in url.query:
            return bus.url
        key_file = str(self.data.path / bus.key_file)
        return str(replace(url, query={**url.query, "key_file": key_file}))

    def encode(self) -> bytes:
        """For a role's payload. The role reads file and environment itself: no secret is in it."""
        file = None if self.file is None else str(self.file)
        return json.dumps([str(self.data.path), file, self.public_url]).encode()

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        data, file, public_url = json.loads(payload)
        return cls.read(Path(data), None if file is None else Path(file), public_url)
