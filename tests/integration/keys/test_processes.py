"""The key server in several processes on one database, and the seals of what lies there."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from transom.errors import ConfigError, InternalError
from transom.keys.service import sealed_again
from transom.messaging.security import tickets
from transom.messaging.security.tickets import Purpose
from transom.runtime.clock import SystemClock
from transom.runtime.sealing import MASTER_KEY_FILE, rotate
from transom.runtime.secrets import Secret

from support.keys import Asking, opened_door, opened_service

NONE = Secret("")
ASKING = """
import asyncio, json, sys
from pathlib import Path
from support.keys import Asking, opened_service
from transom.messaging.security import tickets
from transom.messaging.security.tickets import Purpose
from transom.runtime.clock import SystemClock

async def main():
    clock = SystemClock()
    party = Asking("scheduler.host1", bytes.fromhex(sys.argv[2]), clock)
    async with opened_service(Path(sys.argv[1]), clock) as service:
        granting = service.granting
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        found = []
        for group in ("scheduler", *(f"feed.{n}" for n in range(20))):
            request = party.request(Purpose.GROUP_KEY, group)
            data = party.signed(request)
            sealed = await granting.grant(data, granting.read(data, [Purpose.GROUP_KEY]))
            grant = tickets.open_grant(sealed, party.key, request)
            found.append([grant.generation, grant.key.hex(), grant.authorities[0].hex()])
        print(json.dumps(found), flush=True)

asyncio.run(main())
"""


async def test_processes_that_make_a_groups_first_key_at_once_agree(tmp_path: Path) -> None:
    async with opened_service(tmp_path, SystemClock()) as service:
        custody = service.local.custody
        key = os.urandom(32)
        await custody.put("scheduler.host1", key)
        await custody.put_group("feed.*", ["scheduler.*"])
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", ASKING, str(tmp_path), key.hex()),
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(3)
    ]
    async with asyncio.timeout(60):
        for process in processes:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        said = await asyncio.gather(*(process.communicate(b"\n") for process in processes))
    found = [json.loads(output) for output, _ in said]
    assert found[0] == found[1] == found[2]
    assert len({generation for generation, _, _ in found[0]}) > 1 or len(found[0]) == 21
    assert len({key for _, key, _ in found[0]}) == 21


@pytest.mark.usefixtures("engine")
async def test_services_that_make_a_groups_key_at_once_agree_on_any_database(
    tmp_path: Path,
) -> None:
    clock = SystemClock()
    async with opened_service(tmp_path, clock) as first, opened_service(tmp_path, clock) as second:
        key = os.urandom(32)
        await first.local.custody.put("scheduler.host1", key)
        party = Asking("scheduler.host1", key, clock)

        async def asked(service) -> tuple[int, bytes]:
            request = party.request(Purpose.GROUP_KEY, "scheduler")
            data = party.signed(request)
            read = service.granting.read(data, [Purpose.GROUP_KEY])
            grant = tickets.open_grant(await service.granting.grant(data, read), key, request)
            return grant.generation, grant.key

        found = await asyncio.gather(*(asked(one) for one in (first, second) * 8))
        assert len(set(found)) == 1


async def test_a_first_start_of_several_makes_one_authority(tmp_path: Path) -> None:
    clock = SystemClock()
    async with opened_service(tmp_path, clock):  # the file itself is made by one
        pass
    async with opened_service(tmp_path, clock) as first, opened_service(tmp_path, clock) as second:
        await first.database.write(lambda tx: tx.execute("delete from authority"))
        await asyncio.gather(first.local.authorities.ensure(), second.local.authorities.ensure())
        known = await first.local.authorities.known()
        assert len(known) == 1
        assert known == await second.local.authorities.known()


async def test_what_lies_there_is_sealed_and_opens_under_its_own_name_alone(
    tmp_path: Path,
) -> None:
    async with opened_door(tmp_path) as door:
        caller = await door.party("api.host1")
        await door.party("api.host2")
        group = await door.granted(caller, Purpose.GROUP_KEY, "api")
        database = door.service.database

        async def swap(tx):
            (sealed,) = await tx.fetch_one(
                "select sealed from party_key where name = ?", ("api.host2",)
            )
            await tx.execute(
                "update party_key set sealed = ? where name = ?", (sealed, "api.host1")
            )

        content = b"".join(path.read_bytes() for path in tmp_path.glob("keys.db*"))
        for key in (caller.key, group.key):
            assert key not in content
        await database.write(swap)
        with pytest.raises(InternalError, match="moved here"):
            await door.enrolment.file_of("api.host1")
        refused = await door.asked(caller, Purpose.ENROL)
        assert refused.status == 500
        assert "api.host1" not in refused.body.decode()


@pytest.mark.usefixtures("engine")
async def test_a_rotation_of_the_master_key_while_it_runs_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    async with opened_door(tmp_path) as door:
        parties = [await door.party(f"api.host{number}") for number in range(3)]
        first = await door.granted(parties[0], Purpose.GROUP_KEY, "api")
        database, said = door.service.database, []

        async def again(sealer) -> int:
            total = 0
            while count := await database.write(lambda tx: sealed_again(tx, sealer)):
                total += count
            return total

        loop = asyncio.get_running_loop()

        def elsewhere(sealer):
            count = asyncio.run_coroutine_threadsafe(again(sealer), loop).result(30)
            return [f"{count} values"]

        for turn in range(3):
            await asyncio.to_thread(rotate, folder, NONE, os.urandom, said.append, elsewhere)
            parties.append(await door.party(f"late.host{turn}"))  # sealed by who ran all along
            found = await door.granted(parties[0], Purpose.GROUP_KEY, "api")
            assert found.key == first.key
        assert said[:2] == ["a new master key is in place", "sealed again: 5 values"]
        assert said[2:4] == ["a new master key is in place", "sealed again: 6 values"]
        clock = door.clock
    assert len((folder / MASTER_KEY_FILE).read_text().split()) == 2
    async with opened_door(tmp_path, clock) as door:
        for party in parties:
            await door.granted(Asking(party.name, party.key, clock), Purpose.ENROL)


async def test_a_rotation_that_cannot_open_a_value_changes_no_master_key(tmp_path: Path) -> None:
    async with opened_service(tmp_path) as service:
        await service.local.custody.put("api.host1", os.urandom(32))
        await service.database.write(lambda tx: tx.execute("update party_key set sealed = x'00'"))
        folder = tmp_path / "keys"
        before = (folder / MASTER_KEY_FILE).read_bytes()
        loop, database = asyncio.get_running_loop(), service.database

        def elsewhere(sealer):
            work = database.write(lambda tx: sealed_again(tx, sealer))
            return [str(asyncio.run_coroutine_threadsafe(work, loop).result(30))]

        said: list[str] = []
        await asyncio.to_thread(rotate, folder, NONE, os.urandom, said.append)
        assert (folder / MASTER_KEY_FILE).read_bytes() != before
        before = (folder / MASTER_KEY_FILE).read_bytes()
        with pytest.raises(ConfigError, match=r"api\.host1: is not sealed"):
            await asyncio.to_thread(rotate, folder, NONE, os.urandom, said.append, elsewhere)
        assert (folder / MASTER_KEY_FILE).read_bytes() == before
