"""Certificates of the test's own: an authority, and what it has issued."""

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Pair:
    """A certificate and its key as PEM. `parent`: its authority; itself if it is its own."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    chain: bytes

    @property
    def serial(self) -> int:
        return self.certificate.serial_number

    def write(self, folder: Path) -> tuple[Path, Path]:
        """As `cert.pem` and `key.pem`."""
        certificate, key = folder / "cert.pem", folder / "key.pem"
        key.touch(mode=0o600)
        key.write_bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        certificate.write_bytes(self.chain)
        return certificate, key

    def trusted(self) -> ssl.SSLContext:
        """A client's context that trusts this alone."""
        context = ssl.create_default_context(
            cadata=self.certificate.public_bytes(Encoding.PEM).decode()
        )
        context.set_alpn_protocols(["h2", "http/1.1"])
        return context


def issued(name: str, by: Pair | None = None, *, days: float = 30) -> Pair:
    """For localhost and 127.0.0.1; an authority of its own without `by`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if by is None else by.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .sign(key if by is None else by.key, hashes.SHA256())
    )
    chain = made.public_bytes(Encoding.PEM)
    return Pair(made, key, chain if by is None else chain + by.chain)
