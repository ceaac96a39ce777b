# SPDX-License-Identifier: Apache-2.0
"""What a door accepts from the network: configuration section `http`."""

from dataclasses import dataclass

from transom.runtime.config import option


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds on what one caller, and all of them together, can make a door hold."""

    connections_max: int = option(
        2000, "Open connections; one more is answered 503 and closed.", least=1
    )
    requests_max: int = option(
        1000, "Requests carried out at once; one more is answered 503.", least=1
    )
    line_bytes_max: int = option(16384, "Length of path and query.", unit="bytes", least=256)
    header_bytes_max: int = option(
        65536, "Request line and headers together.", unit="bytes", least=1024
    )
    header_count_max: int = option(128, "Headers of one request.", least=8)
    body_bytes_max: int = option(
        1048576, "Body of a request whose route sets no other bound.", unit="bytes", least=1024
    )
    header_s: float = option(
        10.0, "From a request's first byte to the end of its headers.", unit="s", least=0.1
    )
    body_s: float = option(60.0, "For a whole body that is read at once.", unit="s", least=0.1)
    body_pause_s: float = option(
        10.0,
        "Within this time at least `body_progress_bytes` of a body have to arrive.",
        unit="s",
        least=0.1,
    )
    body_progress_bytes: int = option(4096, "See `body_pause_s`.", unit="bytes", least=1)
    keep_alive_s: float = option(
        75.0, "An idle connection is closed after this time.", unit="s", least=0.1
    )
    write_s: float = option(
        30.0, "A caller that reads nothing of its answer is cut off then.", unit="s", least=0.1
    )
    drain_s: float = option(
        10.0, "When stopping: for requests under way to finish.", unit="s", least=0.0, most=10.0
    )
    idempotency_keep_s: int = option(
        86_400,
        "How long the answer to a request with an Idempotency-Key is kept, to be given again.",
        unit="s",
        least=60,
        most=30 * 86_400,
    )
    project_requests_per_s: float = option(
        0.0, "What one project may ask for; 0 is without limit.", unit="requests/s", least=0.0
    )
    project_burst: int = option(
        100, "What a project may ask for at once, after a rest.", unit="requests", least=1
    )
    address_requests_per_s: float = option(
        0.0,
        "What may come without a valid token from one address (an IPv6 /64; never loopback); 0 is "
        "without limit.",
        unit="requests/s",
        least=0.0,
    )
    address_burst: int = option(
        50, "What may come so at once, after a rest.", unit="requests", least=1
    )
    sockets_max: int = option(
        1000, "Open WebSockets; one more is answered 503 and closed.", least=1
    )
    project_sockets_max: int = option(
        200, "Open WebSockets of one project; one more is refused.", least=1
    )
    address_sockets_max: int = option(
        100,
        "Open WebSockets from one address (an IPv6 /64; never loopback); one more is answered 429.",
        least=1,
    )
    socket_requests_max: int = option(
        64, "Requests of one WebSocket that are carried out at once; the next waits.", least=1
    )
    socket_unsent_bytes_max: int = option(
        4_194_304,
        "What may wait to be sent to a WebSocket; one that reads more slowly is closed.",
        unit="bytes",
        least=65_536,
    )
    socket_sign_in_s: float = option(
        30.0, "A WebSocket without a valid token is closed then.", unit="s", least=0.1
    )
    socket_ping_s: float = option(
        20.0,
        "A WebSocket from which nothing comes is asked for a sign of life.",
        unit="s",
        least=0.1,
    )
    socket_pong_s: float = option(
        20.0, "A WebSocket that then gives none is closed.", unit="s", least=0.1
    )
    backlog: int = option(
        1024, "Connections that the kernel holds until they are accepted.", least=1
    )
