# SPDX-License-Identifier: Apache-2.0
"""What `transom keystone register` says of an address that is no Keystone's, or is not trusted."""

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from transom.cli.registration import Client
from transom.errors import ConfigError, TransomError, Unavailable
from transom.runtime.auth.operator import Operator

NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
MOVED = (
    b"HTTP/1.1 301 Moved\r\nLocation: https://k/v3\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)
GARBAGE = b"SSH-2.0-OpenSSH_9.9\r\n"
TOKEN_IN_HTML = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n"
    b"Connection: close\r\n\r\n<p/>"
)


@asynccontextmanager
async def answering(answer: bytes, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that says the same to everybody; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def refusal(url: str, ca_file: str = "") -> TransomError:
    with pytest.raises(TransomError) as caught:
        async with Client(Operator(url, {"auth": {}}, "user 'admin'", ca_file)) as client:
            await client.sign_in()
    return caught.value


def make_authority(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate that nobody knows, and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "keystone")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "ca.pem", folder / "key.pem"
    public.write_bytes(certificate.public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return public, context


async def test_a_certificate_that_is_not_trusted_is_told_and_one_that_is_named_is_believed(
    tmp_path: Path,
) -> None:
    authority, context = make_authority(tmp_path)
    async with answering(NOT_FOUND, context) as port:
        url = f"https://127.0.0.1:{port}/v3"
        refused = await refusal(url)
        assert isinstance(refused, ConfigError)
        assert "its certificate is not trusted" in refused.text
        assert "OS_CACERT" in refused.text
        assert "is no Keystone of version 3" in (await refusal(url, str(authority))).text


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (NOT_FOUND, ConfigError, "is no Keystone of version 3"),
        (MOVED, ConfigError, "redirects to https://k/v3; use that address"),
        (TOKEN_IN_HTML, Unavailable, "answers 200 to a sign-in"),
        (GARBAGE, Unavailable, "cannot be reached: "),
        (b"", Unavailable, "cannot be reached: "),
    ],
)
async def test_what_is_no_keystone_is_told(
    answer: bytes, kind: type[TransomError], says: str
) -> None:
    async with answering(answer) as port:
        refused = await refusal(f"http://127.0.0.1:{port}")
    assert isinstance(refused, kind)
    assert says in refused.text


async def test_https_where_there_is_none_is_told() -> None:
    async with answering(NOT_FOUND) as port:
        assert "does not speak TLS there" in (await refusal(f"https://127.0.0.1:{port}")).text
