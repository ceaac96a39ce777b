# SPDX-License-Identifier: Apache-2.0
"""A secured bus with the real key server over HTTP, and with a folder of certificates."""

import base64
import os
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from transom import messaging
from transom.errors import KeyUnavailable, MessageDeliveryFailure
from transom.messaging import Client, Server, Target, connect
from transom.messaging.secured import Security
from transom.messaging.secured.folder import ENDING, CertificateFolder
from transom.messaging.secured.key_server import KeyServerSource
from transom.messaging.security.certificates import Certificate, Identity, issue
from transom.messaging.security.keyfile import encode_key_file
from transom.messaging.security.sealing import new_signing_key
from transom.messaging.security.tickets import Purpose
from transom.runtime.clock import Clock, SystemClock
from transom.runtime.secrets import write_private

from support.keys import opened_door

DAY_MS = 86_400_000


class Endpoint:
    async def who(self, context: Any) -> str:
        return messaging.sender()


def transport(security: Security, clock: Clock | None = None) -> messaging.Transport:
    return connect("memory://secured", security=security, clock=clock)


@pytest.mark.parametrize("mode", ["sign", "encrypt"])
async def test_parties_of_a_real_key_server_talk(tmp_path: Path, mode: Any) -> None:
    async with opened_door(tmp_path) as door:

        async def security(name: str) -> Security:
            path = tmp_path / f"{name}.key"
            write_private(path, encode_key_file(await door.enrolment.add(name)))
            return Security.from_file(path, mode=mode)

        served, asking = await security("work.h1"), await security("api.a")
        async with (
            transport(served, door.clock) as one,
            transport(asking, door.clock) as other,
            Server(one, Target(topic="work", server="h1"), [Endpoint()]),
        ):
            for server in ("h1", None):
                client = Client(other, Target(topic="work", server=server), timeout_s=10)
                assert await client.call({}, "who") == "api.a"
            with pytest.raises(MessageDeliveryFailure, match="says 404"):
                await Client(other, Target(topic="no", server="h")).cast({}, "who")


@pytest.mark.parametrize("mode", ["sign", "encrypt"])
async def test_parties_with_certificates_of_a_real_key_server_talk(
    tmp_path: Path, mode: Any
) -> None:
    async with opened_door(tmp_path) as door:

        async def security(name: str) -> Security:
            path = tmp_path / f"{name}.key"
            write_private(path, encode_key_file(await door.enrolment.certified(name)))
            return Security.from_file(path, mode=mode)

        served, asking = await security("work.h1"), await security("api.a")
        async with (
            transport(served, door.clock) as one,
            transport(asking, door.clock) as other,
            Server(one, Target(topic="work", server="h1"), [Endpoint()]),
        ):
            for server in ("h1", None):
                client = Client(other, Target(topic="work", server=server), timeout_s=10)
                assert await client.call({}, "who") == "api.a"


async def test_a_party_with_another_key_has_no_tickets(tmp_path: Path) -> None:
    async with opened_door(tmp_path) as door:
        await door.enrolment.add("work.h1")
        source = KeyServerSource(door.base_url + "/keys")
        thief = Security("work.h1", source, long_term_keys=(os.urandom(32),))
        async with transport(thief, door.clock) as one:
            with pytest.raises(MessageDeliveryFailure, match="says 401"):
                await Client(one, Target(topic="work")).cast({}, "who")


@pytest.mark.parametrize(
    ("status", "size", "said", "lasting"),
    [(200, 3_000_000, "", False), (200, 9_000_000, "too long", False), (503, 9, "503", False),
     (429, 9, "429", False), (404, 9, "404", True), (200, 0, "answer is none", False)],
)  # fmt: skip
async def test_answers_of_a_key_server_are_read_whole_and_bounded(
    status: int, size: int, said: str, lasting: bool
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        text = b'{"certificates": ["' + b"A" * (size // 4 * 4) + b'"]}' if size else b"{}"
        for at in range(0, len(text), 100_000):
            await response.write(text[at : at + 100_000])
        return response

    app = web.Application()
    app.router.add_get("/keys/v1/certificates", answer)
    async with TestServer(app) as served:
        source = KeyServerSource(str(served.make_url("/keys")))
        try:
            if said:
                with pytest.raises(KeyUnavailable, match=said) as error:
                    await source.certificates(group="work")
                assert error.value.lasting is lasting
            else:
                (found,) = await source.certificates(group="work")
                assert len(found) == size // 4 * 3
        finally:
            await source.close()


async def test_a_key_server_that_is_not_there_can_be_asked_again() -> None:
    source = KeyServerSource("http://127.0.0.1:9/keys")
    with pytest.raises(KeyUnavailable, match="does not answer") as error:
        await source.grant(Purpose.ENROL, "api.a", b"x")
    assert not error.value.lasting
    await source.close()
    await source.close()


async def test_parties_of_a_folder_of_certificates_talk(tmp_path: Path) -> None:
    authority, now_ms = new_signing_key(os.urandom), SystemClock().now_ms()
    trusted = (authority.public_key().public_bytes_raw(),)

    def security(name: str) -> Security:
        identity = Identity.make(os.urandom)
        certificate = Certificate(
            name, (), identity.signing_key, identity.agreement_key, now_ms - 1000, now_ms + DAY_MS
        )
        signed = issue(certificate, authority)
        (tmp_path / (name + ENDING)).write_bytes(base64.b64encode(signed))
        return Security(
            name, CertificateFolder(tmp_path), mode="encrypt", suite="public-key",
            identity=identity, certificate=signed, authorities=trusted,
        )  # fmt: skip

    served, asking = security("work.h1"), security("api.a")
    foreign = issue(
        Certificate("work.h2", (), bytes(32), bytes(32), 0, now_ms + DAY_MS),
        new_signing_key(os.urandom),
    )
    (tmp_path / ("work.h2" + ENDING)).write_bytes(base64.b64encode(foreign))
    async with transport(served) as one, transport(asking) as other:
        async with Server(one, Target(topic="work", server="h1"), [Endpoint()]):
            for server in ("h1", None):
                client = Client(other, Target(topic="work", server=server), timeout_s=10)
                assert await client.call({}, "who") == "api.a"
            with pytest.raises(MessageDeliveryFailure, match="no certificate"):
                await Client(other, Target(topic="work", server="h2")).cast({}, "who")
        (tmp_path / ("bad" + ENDING)).write_bytes(b"!")
        with pytest.raises(KeyUnavailable):
            await CertificateFolder(tmp_path).certificates(group="x")
    with pytest.raises(KeyUnavailable):
        await CertificateFolder(tmp_path).grant(Purpose.ENROL, "a.a", b"")
