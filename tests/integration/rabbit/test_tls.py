"""Sealed links: our own authority, renewal, login by certificate, and what is refused."""

import secrets
from pathlib import Path

import pytest

from transom.errors import InvalidTransportURL
from transom.messaging.drivers.base import Address, Connected, Kind

from support.certificates import issued
from support.driver_peer import until
from support.rabbit import Node, Tls, private_node
from support.rabbit_peer import peers

AUTHORITY = issued("the authority of the test")


def written(folder: Path, name: str, by=AUTHORITY) -> tuple[Path, Path]:
    folder.mkdir(exist_ok=True)
    return issued(name, by).write(folder)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("tls")
    (folder / "ca").mkdir()
    authority, _ = AUTHORITY.write(folder / "ca")
    certificate, key = written(folder / "server", "localhost")
    with private_node(tls=Tls(authority, certificate, key)) as made:
        yield made


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    (tmp_path / "ca").mkdir()
    return AUTHORITY.write(tmp_path / "ca")[0]


def topic() -> Address:
    return Address(Kind.TOPIC, f"tls{secrets.token_hex(4)}")


async def test_a_sealed_link_carries_messages(node: Node, authority: Path) -> None:
    address = topic()
    async with peers(f"{node.tls_server}/?ssl=true&ssl_ca_file={authority}") as [peer]:
        await peer.listen(address)
        await peer.send(address, b"x" * 300_000)
        assert await peer.heard(1) == [b"x" * 300_000]
        text = await node.controlled("list_connections", "--no-table-headers", "ssl")
        assert text.split() == ["true", "true"]


async def test_a_broker_of_another_authority_is_refused(node: Node, tmp_path: Path) -> None:
    other, _ = written(tmp_path / "other", "another authority", by=None)
    async with peers(f"{node.tls_server}/?ssl=true&ssl_ca_file={other}") as [peer]:
        await until(lambda: "CERTIFICATE_VERIFY_FAILED" in peer.driver._sending.reason, "refused")
        assert peer.told(Connected) == 0


async def test_a_name_that_the_certificate_lacks_is_refused_unless_told(
    node: Node, authority: Path
) -> None:
    # Another way to write 127.0.0.1, which the certificate does not name.
    server = node.tls_server.replace("@localhost", "@127.1")
    url = f"{server}/?ssl=true&ssl_ca_file={authority}"
    async with peers(url) as [peer]:
        await until(lambda: "Hostname mismatch" in peer.driver._sending.reason, "it was checked")
        assert peer.told(Connected) == 0
    async with peers(f"{url}&ssl_enforce_hostname_verification=false") as [peer]:
        await until(lambda: peer.told(Connected) == 2, "the name was not checked")


async def test_a_certificate_logs_in_and_a_renewed_one_is_read_for_the_next_link(
    node: Node, authority: Path, tmp_path: Path
) -> None:
    await node.controlled("add_user", "caller", secrets.token_hex(8))
    await node.controlled("set_permissions", "-p", "/", "caller", ".*", ".*", ".*")
    await node.controlled("add_user", "renewed", secrets.token_hex(8))
    await node.controlled("set_permissions", "-p", "/", "renewed", ".*", ".*", ".*")
    certificate, key = written(tmp_path / "mine", "caller")
    server = f"rabbit://localhost:{node.tls_port}"
    files = f"ssl_ca_file={authority}&ssl_cert_file={certificate}&ssl_key_file={key}"
    address = topic()
    async with peers(f"{server}/?ssl=true&rabbit_login_method=EXTERNAL&{files}") as [peer]:
        await peer.listen(address)
        assert await users(node) == ["caller", "caller"]
        written(tmp_path / "mine", "renewed")
        peer.driver._sending.link.give_up("test")
        peer.driver._receiving.link.give_up("test")
        await until(lambda: peer.told(Connected) == 4, "both links stand again")
        await peer.send(address, b"x")
        assert await peer.heard(1) == [b"x"]
        assert await users(node, "renewed") == ["renewed", "renewed"]


async def users(node: Node, expected: str = "") -> list[str]:
    """Of the connections; the broker's list lags a little behind those that broke."""
    for _ in range(20):
        text = await node.controlled("list_connections", "--no-table-headers", "user")
        if not expected or set(text.split()) == {expected}:
            break
    return text.split()


async def test_tls_files_that_cannot_be_used_are_said_at_start(tmp_path: Path) -> None:
    url = f"rabbit://localhost/?ssl=true&ssl_ca_file={tmp_path}/none.pem"
    with pytest.raises(InvalidTransportURL, match="TLS files"):
        async with peers(url):
            pass


async def test_amqplain_logs_in(node: Node) -> None:
    address = topic()
    async with peers(f"{node.url}?rabbit_login_method=AMQPLAIN") as [peer]:
        await peer.listen(address)
        await peer.send(address, b"x")
        assert await peer.heard(1) == [b"x"]
