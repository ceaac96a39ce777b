# SPDX-License-Identifier: Apache-2.0
"""The address of a PostgreSQL server: `postgresql://user@host:port/database?sslmode=...`.

Invariant: no text of an error here repeats the address, which may carry a password.
"""

import re
from urllib.parse import parse_qsl, urlencode, urlsplit

from transom.errors import ConfigError

SCHEMES = ("postgresql", "postgres")
_PORT = re.compile(r"(\[[^]]*\]|[^:\[\]]*)(:[0-9]{1,5})?")
_HOW = "write postgresql://user@host:port/database"


def check_address(url: str) -> None:
    """Raises: ConfigError."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigError(f"[database] url is no address; {_HOW}") from None
    if not all(_PORT.fullmatch(host) for host in _hosts(url).split(",")):
        raise ConfigError(f"[database] url names a port that is no number; {_HOW}")
    if parts.scheme not in SCHEMES:
        raise ConfigError(f"[database] url does not begin with postgresql://; {_HOW}")
    if not parts.path.strip("/"):
        raise ConfigError(f"[database] url names no database; {_HOW}")
    if any(ord(letter) <= 32 or ord(letter) == 127 for letter in url):
        raise ConfigError(f"[database] url holds a blank or a control character; {_HOW}")


def has_password(url: str) -> bool:
    parts = urlsplit(url)
    return bool(parts.password) or any(name == "password" for name, _ in parse_qsl(parts.query))


def without_password(url: str) -> str:
    """The same server, user and database; where a password is needed, it is asked for."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    user = user.partition(":")[0]
    query = urlencode([pair for pair in parse_qsl(parts.query) if pair[0] != "password"])
    return f"{parts.scheme}://{user}{at}{host}{parts.path}{'?' if query else ''}{query}"


def shown(url: str) -> str:
    """`host:port/database`, for people and logs."""
    parts = urlsplit(url)
    host = _hosts(url) or dict(parse_qsl(parts.query)).get("host", "localhost")
    return f"{host}{parts.path}"


def _hosts(url: str) -> str:
    """`host:port,host:port`: a server and its standbys."""
    return urlsplit(url).netloc.rpartition("@")[2]
