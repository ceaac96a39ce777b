# SPDX-License-Identifier: Apache-2.0
"""Listening sockets, and the one line that is said when there can be none."""

import errno
import ipaddress
import socket

from transom.errors import ConfigError

PORT_MOST = 65535


def bind(host: str, port: int, *, force_plain: bool = False) -> socket.socket:
    """A bound TCP socket; port 0 takes any free one. The server that gets it makes it listen.

    Plain HTTP is for loopback; `force_plain` allows it elsewhere. What is looked at is the address
    that is bound, so a name counts as what it resolves to.

    Raises: ConfigError that says what to do.
    """
    if not 0 <= port <= PORT_MOST:
        raise ConfigError(f"{port} is no port; choose one from 0 (any) to {PORT_MOST} with --port")
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )
    except (socket.gaierror, UnicodeError) as error:
        raise ConfigError(f"{host!r} is no address of this machine; choose another host") from error
    family, kind, protocol, _, address = found[0]
    if not force_plain and not ipaddress.ip_address(address[0]).is_loopback:
        raise ConfigError(
            f"plain HTTP on {host or 'all addresses'} could be read by others; set [api] "
            "tls_certificate and tls_key, or listen on 127.0.0.1 (behind a TLS proxy), or set "
            "[api] plain_http_anywhere = true"
        )
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise ConfigError(_advice(error, host, port)) from error
    bound.setblocking(False)
    return bound


def _advice(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is in use; choose another with --port or [api] port"
    if error.errno == errno.EACCES:
        return f"port {port} needs privileges; choose one above 1023 with --port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this machine; choose another host"
    return f"{host}:{port} cannot be listened on: {error.strerror}"
