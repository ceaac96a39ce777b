"""TLS at the doors: what is spoken, live reload, and callers that do not shake hands."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from transom.errors import ConfigError
from transom.runtime.clock import SystemClock
from transom.runtime.http.limits import HttpLimits
from transom.runtime.http.tls import Certificate, is_self_signed

from support.certificates import Pair, issued
from support.door import TOKEN, Gate, small_door
from support.http import PATIENCE_S, Reply, hang_up, read_reply, request_bytes, serve

GET = request_bytes("GET", "/queue/v2/open")


@pytest.fixture(scope="module")
def authority() -> Pair:
    return issued("authority")


@pytest.fixture
def files(tmp_path: Path, authority: Pair) -> tuple[Path, Path]:
    return issued("first", authority).write(tmp_path)


@pytest.fixture
def certificate(files: tuple[Path, Path]) -> Certificate:
    return Certificate(*files, SystemClock())


@asynccontextmanager
async def open_door(
    certificate: Certificate, limits: HttpLimits | None = None, gate: Gate | None = None
) -> AsyncIterator[str]:
    async with serve(small_door(gate), limits, certificate.current) as url:
        yield url


async def connect(
    url: str, trusted: Pair, **options: Any
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = options.pop("context", None) or trusted.trusted()
    parts = urlsplit(url)
    return await asyncio.open_connection(parts.hostname, parts.port, ssl=context, **options)


async def get(url: str, trusted: Pair) -> tuple[Reply, int]:
    """The reply, and the serial number of the certificate that was shown."""
    reader, writer = await connect(url, trusted)
    writer.write(GET)
    reply = await read_reply(reader)
    serial = shown(writer)
    await hang_up(writer)
    return reply, serial


def shown(writer: asyncio.StreamWriter) -> int:
    return int(writer.get_extra_info("peercert")["serialNumber"], 16)


async def test_requests_go_over_tls_with_http_1_1(certificate: Certificate, authority: Pair):
    async with open_door(certificate) as url:
        reader, writer = await connect(url, authority)
        secured = writer.get_extra_info("ssl_object")
        assert (secured.version(), secured.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")
        writer.write(GET * 20)  # ahead of their answers
        assert [(await read_reply(reader)).status for _ in range(20)] == [200] * 20
        body = b"x" * 900_000
        kinds = {"x-auth-token": TOKEN, "content-type": "application/octet-stream"}
        writer.write(request_bytes("POST", "/queue/v2/bytes", kinds, body))
        assert (await read_reply(reader)).json()["body"] == len(body)
        await hang_up(writer)


async def test_a_request_right_behind_the_handshake_is_not_lost(
    certificate: Certificate, authority: Pair
):
    """The last flight of the handshake and the request in one packet, many times."""
    context = authority.trusted()
    async with open_door(certificate) as url:
        port = urlsplit(url).port

        async def one() -> int:
            inbound, outbound = ssl.MemoryBIO(), ssl.MemoryBIO()
            secured = context.wrap_bio(inbound, outbound, server_hostname="localhost")
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            while True:
                try:
                    secured.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    writer.write(outbound.read())
                    inbound.write(await reader.read(1 << 16))
            secured.write(GET)
            writer.write(outbound.read())
            while True:
                inbound.write(await reader.read(1 << 16))
                try:
                    head = secured.read(1 << 16)
                    break
                except ssl.SSLWantReadError:
                    continue
            await hang_up(writer)
            return int(head.split()[1])

        async with asyncio.timeout(PATIENCE_S):
            assert [await one() for _ in range(40)] == [200] * 40


async def test_old_versions_and_plain_http_are_refused(certificate: Certificate, authority: Pair):
    old = authority.trusted()
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    async with open_door(certificate) as url:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await connect(url, authority, context=old)
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
        writer.write(GET)
        async with asyncio.timeout(PATIENCE_S):
            with suppress(ConnectionError):
                assert b"HTTP" not in await reader.read()
        await hang_up(writer)
        assert (await get(url, authority))[0].status == 200


async def test_a_new_certificate_is_shown_and_no_connection_is_dropped(
    certificate: Certificate, authority: Pair, tmp_path: Path
):
    gate = Gate()
    async with open_door(certificate, gate=gate) as url:
        reader, writer = await connect(url, authority)
        before = shown(writer)
        writer.write(request_bytes("GET", "/queue/v2/gate"))
        await gate.reached_by(1)
        second = issued("second", authority)
        second.write(tmp_path)
        certificate.look()
        assert (await get(url, authority))[1] == second.serial != before
        gate.open.set()
        writer.write(GET)
        assert [(await read_reply(reader)).status for _ in range(2)] == [200, 200]
        await hang_up(writer)


@pytest.mark.parametrize("broken", ["torn", "empty", "other key", "readable", "gone"])
async def test_a_broken_new_pair_keeps_the_old_one_and_is_told_once(
    certificate: Certificate,
    authority: Pair,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    broken: str,
):
    path, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    first, second = path.read_bytes(), issued("second", authority)
    if broken == "torn":
        path.write_bytes(second.chain[:300])
    elif broken == "empty":
        path.write_bytes(b"")
    elif broken == "other key":
        path.write_bytes(second.chain)
    elif broken == "readable":
        key.write_bytes(key.read_bytes() + b"\n")
        key.chmod(0o644)
    else:
        key.unlink()
    async with open_door(certificate) as url:
        for _ in range(3):
            certificate.look()
        said = [record for record in caplog.records if "old one is kept" in record.message]
        assert [record.levelno for record in said] == [logging.ERROR]
        assert (await get(url, authority))[0].status == 200
        assert "transom_tls_reload_failures_total 1.0" in exposed(certificate)
        assert path.read_bytes() == first or broken in ("torn", "empty", "other key")
        key.unlink(missing_ok=True)
        second.write(tmp_path)
        certificate.look()
        assert (await get(url, authority))[1] == second.serial


def exposed(certificate: Certificate) -> str:
    from transom.runtime.telemetry.metrics import exposition

    registry = CollectorRegistry()
    registry.register(certificate)
    return exposition(registry).decode()


async def test_files_are_looked_at_by_themselves(
    certificate: Certificate, authority: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("transom.runtime.http.tls.LOOK_EACH_S", 0.01)
    await certificate.start()
    try:
        async with open_door(certificate) as url, asyncio.timeout(PATIENCE_S):
            second = issued("second", authority)
            second.write(tmp_path)
            while (await get(url, authority))[1] != second.serial:
                pass
    finally:
        await certificate.stop()


@pytest.mark.parametrize(
    ("days", "level", "says"),
    [(13, logging.WARNING, "expires soon"), (-1, logging.ERROR, "has expired"), (15, None, "")],
)
def test_an_end_that_is_near_is_logged_and_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, days: int, level: int | None, says: str
):
    certificate = Certificate(*issued("short", days=days).write(tmp_path), SystemClock())
    said = [(record.levelno, record.message) for record in caplog.records]
    assert said == ([] if level is None else [(level, f"certificate {says}")])
    line = next(
        line
        for line in exposed(certificate).splitlines()
        if line.startswith("transom_tls_certificate_expires_seconds")
    )
    assert float(line.split()[1]) == pytest.approx(days * 86_400, abs=60)


@pytest.mark.parametrize("broken", ["no file", "no key", "not PEM", "not together", "readable"])
def test_a_pair_that_cannot_be_used_says_what_to_do(
    tmp_path: Path, files: tuple[Path, Path], broken: str
):
    path, key = files
    if broken in ("no file", "no key"):
        (path if broken == "no file" else key).unlink()
        says = "cannot be read: No such file"
    elif broken == "not PEM":
        path.write_bytes(b"x")
        says = "no certificate in PEM form"
    elif broken == "readable":
        key.chmod(0o604)
        says = "chmod o="
    else:
        path.write_bytes(issued("other").chain)
        says = "do not go together"
    with pytest.raises(ConfigError, match=says):
        Certificate(path, key, SystemClock())


async def test_our_own_calls_believe_this_certificate_and_its_successor_alone(
    certificate: Certificate, authority: Pair, tmp_path: Path
):
    async def call(url: str) -> int:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{url}/healthz", ssl=certificate.trust()) as answer,
        ):
            return answer.status

    async with open_door(certificate) as url:
        assert await call(url) == 200
        issued("second", authority).write(tmp_path)
        assert await call(url) == 200
    folder = tmp_path / "other"
    folder.mkdir()
    other = Certificate(*issued("third", authority).write(folder), SystemClock())
    async with open_door(other) as url:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await call(url)


async def test_who_does_not_shake_hands_is_cut_off_and_counts(
    certificate: Certificate, authority: Pair
):
    limits = HttpLimits(header_s=0.5, connections_max=5)
    async with open_door(certificate, limits) as url:
        address = ("127.0.0.1", urlsplit(url).port)
        idle = [await asyncio.open_connection(*address) for _ in range(5)]
        idle[0][1].write(b"\x16\x03\x01")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await connect(url, authority)
        async with asyncio.timeout(PATIENCE_S):
            for reader, _ in idle:
                with suppress(ConnectionError):
                    assert await reader.read() in (b"", b"\x15\x03\x03\x00\x02\x02\x16")
            for _, writer in idle:
                await hang_up(writer)
            while True:
                try:
                    assert (await get(url, authority))[0].status == 200
                    break
                except (ssl.SSLError, ConnectionError, asyncio.IncompleteReadError):
                    continue


async def test_a_large_refused_upload_gets_its_answer(certificate: Certificate, authority: Pair):
    head = request_bytes(
        "POST", "/queue/v2/bytes", {"x-auth-token": TOKEN, "content-length": "50000000"}
    )
    async with open_door(certificate) as url:
        for _ in range(5):
            reader, writer = await connect(url, authority)
            writer.write(head)
            for _ in range(40):
                writer.write(b"x" * 50_000)
                await asyncio.sleep(0)
            assert (await read_reply(reader)).status == 413
            writer.transport.abort()


async def test_a_stop_is_not_held_up_by_a_handshake(certificate: Certificate):
    limits = HttpLimits(drain_s=5.0)
    async with asyncio.timeout(4):
        async with open_door(certificate, limits) as url:
            reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
            writer.write(b"\x16")
            await asyncio.sleep(0)
        with suppress(ConnectionError):
            assert await reader.read() == b""
        await hang_up(writer)


def test_who_is_its_own_authority_is_seen(tmp_path: Path, authority: Pair):
    assert is_self_signed(authority.write(tmp_path)[0])
    assert not is_self_signed(issued("x", authority).write(tmp_path)[0])
    with pytest.raises(ConfigError, match="cannot be read"):
        is_self_signed(tmp_path / "none")
