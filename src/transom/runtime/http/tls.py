# SPDX-License-Identifier: Apache-2.0
"""The certificate that the doors show, read again when its files change.

Every handshake takes the context that is current then; a new pair makes a new context, so that
connections that exist, and handshakes that have begun, go on with theirs.

Invariants:
1. Only a pair that was loaded and fits together becomes current. With one that does not, the old
   one is served, and the log says so once for each change of the files.
2. A key that everybody on the machine may read is no key: it is refused like a broken one.
3. TLS 1.2 and 1.3 alone, with forward secrecy; HTTP/1.1 by ALPN; no client certificates.

Source: Mozilla Server Side TLS 5.7 ("intermediate").
"""

import asyncio
import logging
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from transom.errors import ConfigError
from transom.runtime.clock import Clock

log = logging.getLogger(__name__)

LOOK_EACH_S = 2.0
SOON_S = 14 * 86_400.0
WARN_EACH_S = 86_400.0
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

Stamp = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate chain and its key, as loaded. `leaf`: the certificate itself, as DER."""

    context: ssl.SSLContext
    leaf: bytes
    expires_ms: int

    @classmethod
    def load(cls, certificate: Path, key: Path) -> "Pair":
        """Raises: ConfigError that names the file and says what to do."""
        leaf = _leaf(certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        context.set_alpn_protocols(["http/1.1"])
        try:
            if key.stat().st_mode & 0o007:
                raise ConfigError(f"{key}: everybody here may read it; run: chmod o= {key}")
            key.read_bytes()  # the next one does not say which file it cannot read
            context.load_cert_chain(certificate, key, password=_no_password)
        except ssl.SSLError as error:
            why = error.reason or "no key in PEM form without a passphrase"
            raise ConfigError(f"{certificate} and {key}: do not go together ({why})") from error
        except OSError as error:
            raise _unreadable(error) from error
        return cls(
            context,
            leaf.public_bytes(Encoding.DER),
            round(leaf.not_valid_after_utc.timestamp() * 1000),
        )


class Certificate(Collector):
    """The pair of one process's doors. A `lifecycle.Service`; register it for its figures."""

    def __init__(self, certificate: Path, key: Path, clock: Clock) -> None:
        """Raises: ConfigError if the pair cannot be used."""
        self._certificate = certificate
        self._key = key
        self._clock = clock
        self._failures = 0
        self._warned_s = float("-inf")
        self._looking: asyncio.Task[None] | None = None
        self._trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._trust.check_hostname = False  # it is this very certificate that is believed
        self._trust.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        self._stamp = self._stamped()
        self._take(Pair.load(certificate, key))

    def current(self) -> ssl.SSLContext:
        """For the next handshake."""
        return self._pair.context

    def trust(self) -> ssl.SSLContext:
        """What our own calls to the doors believe: this certificate, the one that it replaced, and
        the one that stands in the file by now, which another process of ours may show already.
        """
        self.look()
        return self._trust

    async def start(self) -> None:
        self._looking = asyncio.get_running_loop().create_task(self._keep_looking(), name="tls")

    async def stop(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
            self._looking = None

    def look(self) -> None:
        """Takes the pair in the files if it has changed and can be used."""
        stamp = self._stamped()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._take(Pair.load(self._certificate, self._key))
        except ConfigError as error:
            self._failures += 1
            log.error("new certificate not used, the old one is kept", extra={"why": error.text})
            return
        log.info("new certificate in use", extra={"expires_s": round(self._expires_s())})

    def collect(self) -> Iterable[Metric]:
        return figures(self._expires_s(), self._failures)

    def _take(self, pair: Pair) -> None:
        self._pair = pair
        self._trust.load_verify_locations(cadata=pair.leaf)
        self._warned_s = float("-inf")
        self._warn()

    def _expires_s(self) -> float:
        return (self._pair.expires_ms - self._clock.now_ms()) / 1000

    def _warn(self) -> None:
        left_s, now_s = self._expires_s(), self._clock.monotonic_s()
        if left_s < SOON_S and now_s - self._warned_s >= WARN_EACH_S:
            self._warned_s = now_s
            say = log.warning if left_s > 0 else log.error
            what = "certificate expires soon" if left_s > 0 else "certificate has expired"
            say(what, extra={"file": str(self._certificate), "expires_s": round(left_s)})

    def _stamped(self) -> Stamp:
        return tuple(_stamp_of(path) for path in (self._certificate, self._key))

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EACH_S)
            self.look()
            self._warn()


def figures(expires_s: float, failures: int) -> list[Metric]:
    """What `/metrics` shows of a certificate."""
    return [
        GaugeMetricFamily(
            "transom_tls_certificate_expires_seconds",
            "Until the certificate in use expires; negative when it has.",
            expires_s,
        ),
        CounterMetricFamily(
            "transom_tls_reload_failures",
            "New certificates that could not be used, so that the old one was kept.",
            failures,
        ),
    ]


def is_self_signed(certificate: Path) -> bool:
    """Whether the file's certificate is its own authority. Raises: ConfigError."""
    leaf = _leaf(certificate)
    return leaf.issuer == leaf.subject


def _leaf(certificate: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    except OSError as error:
        raise _unreadable(error) from error
    except ValueError as error:
        raise ConfigError(f"{certificate}: holds no certificate in PEM form") from error


def _stamp_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _no_password() -> bytes:
    """Asked for by a key that is encrypted, where the terminal would be asked otherwise."""
    return b""


def _unreadable(error: OSError) -> ConfigError:
    return ConfigError(f"{error.filename}: cannot be read: {error.strerror}")
