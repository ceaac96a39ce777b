"""The supervisor with real processes: start, death, silence, drain."""

import asyncio
import json
import os
import signal
import socket
import statistics
from collections.abc import Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from transom.errors import InternalError
from transom.node.logic.life import State
from transom.node.processes import ForkServerProcess, RoleSpec, Watcher
from transom.node.supervisor import RoleStatus, Supervisor

from support.family import QUICK, alive, role, supervisor, until


@asynccontextmanager
async def running(*specs: RoleSpec, **arguments):
    family = supervisor(*specs, **arguments)
    try:
        await asyncio.wait_for(family.start(), 30)
        yield family
    finally:
        await asyncio.wait_for(family.stop(), 30)


def named(family: Supervisor, name: str) -> RoleStatus:
    return next(status for status in family.roles() if status.name == name)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def pids(family: Supervisor) -> list[int]:
    return [row["pid"] for row in family.status()["roles"] if row["pid"] not in (None, os.getpid())]


async def heard(host: str, port: int) -> bytes:
    """What the other side says until it hangs up."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()
        await writer.wait_closed()


def ordered(log: list[str], wanted: Iterable[str]) -> bool:
    places = [log.index(line) for line in wanted]
    return places == sorted(places)


async def test_roles_start_in_order_and_drain_in_the_reverse(tmp_path) -> None:
    log = str(tmp_path / "log")
    specs = [role(name, "steady", order, log=log) for order, name in enumerate("abc")]
    async with running(*specs) as family:
        assert family.ready
        family_pids = pids(family)
        assert len(family_pids) == 4
    wanted = ["ready a", "ready b", "ready c", "stopping c", "stopped c", "stopping b"]
    assert ordered(lines(tmp_path / "log"), [*wanted, "stopped b", "stopping a", "stopped a"])
    assert not any(alive(pid) for pid in family_pids)


async def test_each_process_of_a_role_has_its_own_name() -> None:
    async with running(role("worker", "steady", count=3)) as family:
        assert [status.name for status in family.roles()] == ["worker-1", "worker-2", "worker-3"]
        assert len({status.pid for status in family.roles()}) == 3


@pytest.mark.alone
async def test_a_role_killed_again_and_again_is_back_within_a_second_and_a_half() -> None:
    async with running(role("api", "steady")) as family:
        times_s = []
        for _ in range(15):
            killed = named(family, "api").pid
            os.kill(killed, signal.SIGKILL)
            times_s.append(
                await until(lambda: family.ready and named(family, "api").pid != killed)  # noqa: B023
            )
        assert statistics.median(times_s) < 1.5
        assert named(family, "api").restarts == 15
        assert not alive(killed)


async def test_a_role_that_crashes_before_it_is_ready_fails_and_the_others_go_on(tmp_path) -> None:
    log = tmp_path / "log"
    async with running(role("bad", "crash", 1, log=str(log)), role("good", "steady", 2)) as family:
        assert not family.ready
        assert named(family, "good").ready
        bad = named(family, "bad")
        assert (bad.state, bad.problem) == (State.FAILED, "RuntimeError: no such luck")
        assert lines(log) == ["crash bad"] * QUICK.early_deaths_most
        row = family.status()["roles"][2]
        assert row["problem"] == "RuntimeError: no such luck"


async def test_a_role_that_crashes_twice_recovers(tmp_path) -> None:
    async with running(role("late", "crash_until", log=str(tmp_path / "log"), times=2)) as family:
        assert named(family, "late").ready
        assert named(family, "late").restarts == 2


async def test_a_configuration_error_is_told_and_not_tried_again(tmp_path) -> None:
    log = tmp_path / "log"
    async with running(role("api", "misconfigured", log=str(log))) as family:
        assert named(family, "api").state is State.FAILED
        assert named(family, "api").problem == "port 1 is taken; choose another with --port"
        assert len(lines(log)) == 1


async def test_a_stopped_process_is_not_ready_and_ready_again_when_it_goes_on() -> None:
    async with running(role("api", "steady")) as family:
        pid = named(family, "api").pid
        os.kill(pid, signal.SIGSTOP)
        await until(lambda: not family.ready)
        os.kill(pid, signal.SIGCONT)
        await until(lambda: family.ready)
        assert named(family, "api").pid == pid
        assert named(family, "api").restarts == 0


async def test_a_role_that_complains_is_not_ready_and_goes_on(tmp_path) -> None:
    ailment = tmp_path / "ailment"
    async with running(role("api", "steady", ailment=str(ailment))) as family:
        pid = family.roles()[0].pid
        ailment.write_text("no disk")
        await until(lambda: family.roles()[0].problem == "no disk")
        assert not family.ready
        assert family.status()["roles"][-1]["problem"] == "no disk"
        ailment.unlink()
        await until(lambda: family.ready)
        assert family.roles()[0].pid == pid


async def test_a_process_that_stays_stopped_is_killed_and_replaced() -> None:
    async with running(role("api", "steady")) as family:
        pid = named(family, "api").pid
        os.kill(pid, signal.SIGSTOP)
        await until(lambda: family.ready and named(family, "api").pid != pid)
        assert not alive(pid)


async def test_a_stuck_loop_is_killed_and_replaced() -> None:
    async with running(role("stuck", "stuck_at_stop")) as family:
        pid = named(family, "stuck").pid
        await until(lambda: named(family, "stuck").restarts > 0)
        assert not alive(pid)


async def test_a_drain_beyond_its_grace_is_killed_and_the_next_still_drains(tmp_path) -> None:
    log = str(tmp_path / "log")
    async with running(
        role("first", "steady", 1, log=log), role("slow", "steady", 2, log=log, ignore_stop=True)
    ) as family:
        family_pids = pids(family)
    assert ordered(lines(tmp_path / "log"), ["stopping slow", "stopping first", "stopped first"])
    assert not any(alive(pid) for pid in family_pids)


async def test_a_stop_during_the_start_ends_both() -> None:
    family = supervisor(role("a", "never_ready", 1), role("b", "steady", 2))
    starting = asyncio.create_task(family.start())
    await until(lambda: named(family, "a").pid is not None)
    await asyncio.wait_for(family.stop(), 30)
    await asyncio.wait_for(starting, 5)
    assert not family.ready
    assert [status.state for status in family.roles()] == [State.STOPPED, State.STOPPED]


async def test_the_end_of_the_fork_server_disturbs_no_role_and_it_is_replaced() -> None:
    async with running(role("a", "steady"), role("b", "steady")) as family:
        before = [status.pid for status in family.roles()]
        server = family.status()["roles"][1]["pid"]
        os.kill(server, signal.SIGKILL)
        await until(lambda: family.status()["roles"][1]["restarts"] == 1)
        await until(lambda: family.status()["roles"][1]["ready"])
        assert not alive(server)
        assert [status.pid for status in family.roles()] == before
        os.kill(before[0], signal.SIGKILL)
        await until(lambda: family.ready and family.roles()[0].pid != before[0])


async def test_a_stuck_fork_server_is_killed_in_place_of_the_role_that_it_never_made() -> None:
    limits = replace(QUICK, ready_beats=20)
    async with running(role("a", "steady"), limits=limits) as family:
        server = family.status()["roles"][1]["pid"]
        await until(lambda: family.status()["roles"][1]["ready"])
        os.kill(server, signal.SIGSTOP)
        os.kill(named(family, "a").pid, signal.SIGKILL)
        await until(lambda: family.ready and named(family, "a").restarts > 0)
        assert not alive(server)


async def test_a_preload_that_fails_is_a_failed_role_and_no_endless_loop() -> None:
    async with running(role("a", "steady"), preload=("support.no_such_module",)) as family:
        assert named(family, "a").state is State.FAILED
        assert "No module named 'support.no_such_module'" in named(family, "a").problem


async def test_the_last_words_of_a_fork_server_that_is_gone_already_are_read() -> None:
    told: list[str] = []
    ended = asyncio.Event()
    server = ForkServerProcess(("support.no_such_module",), 1.0)
    server.start()
    watcher = Watcher(lambda said: told.append(said["problem"]), lambda code: ended.set())
    server.fork("a", role("a", "steady"), watcher)
    os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOWAIT)  # our loop stands still meanwhile
    await asyncio.wait_for(ended.wait(), 10)
    await server.stop()
    assert "No module named 'support.no_such_module'" in told[0]


async def test_a_role_that_says_nonsense_is_killed() -> None:
    async with running(role("babbler", "babbler")) as family:
        await until(lambda: named(family, "babbler").restarts > 0)


async def test_listening_sockets_are_inherited_and_nothing_queued_is_lost_at_a_death() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        spec = RoleSpec("api", "support.roles:server", 1, listeners={"door": door})
        async with running(spec) as family:
            for _ in range(5):
                killed = named(family, "api").pid
                os.kill(killed, signal.SIGKILL)
                answer = int(await heard(*door.getsockname()))
                assert answer != killed
                await until(lambda: family.ready)  # it may answer before it is known to be ready
                assert named(family, "api").pid == answer


async def test_a_sigterm_to_one_role_drains_and_replaces_it(tmp_path) -> None:
    log = tmp_path / "log"
    async with running(role("api", "steady", log=str(log))) as family:
        pid = named(family, "api").pid
        os.kill(pid, signal.SIGTERM)
        await until(lambda: family.ready and named(family, "api").pid != pid)
        assert lines(log)[:3] == ["ready api", "stopping api", "stopped api"]


async def test_payloads_show_neither_in_argv_nor_in_titles() -> None:
    async with running(role("api", "steady", password="hunter2")) as family:
        for pid in pids(family):
            shown = (
                Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/comm").read_bytes()
            )
            assert b"hunter2" not in shown
        comm = Path(f"/proc/{named(family, 'api').pid}/comm").read_text()
        assert comm == "transom:api\n"


async def test_roles_share_no_session_with_the_terminal_of_their_supervisor() -> None:
    async with running(role("api", "steady")) as family:
        assert all(os.getsid(pid) != os.getsid(0) for pid in pids(family))


async def test_status_has_every_process_and_plausible_memory() -> None:
    async with running(role("a", "steady"), role("b", "steady")) as family:
        status = family.status()
        assert status["ready"]
        assert [row["name"] for row in status["roles"]] == ["supervisor", "forkserver", "a", "b"]
        for row in status["roles"]:
            assert {"name", "pid", "ready", "memory_mib", "restarts"} <= set(row)
            most_mib = 4096 if row["name"] == "supervisor" else 200  # that one is this process
            assert 1 < row["memory_mib"] < most_mib
        total_mib = sum(row["memory_mib"] for row in status["roles"])
        assert status["memory_mib"] == pytest.approx(total_mib, abs=0.2)
        assert json.loads(json.dumps(status)) == status


async def test_every_change_of_state_is_reported() -> None:
    seen: list[tuple[str, State]] = []
    async with running(
        role("a", "steady"), report=lambda status: seen.append((status.name, status.state))
    ):
        pass
    assert seen == [
        ("a", State.STARTING),
        ("a", State.READY),
        ("a", State.DRAINING),
        ("a", State.STOPPED),
    ]


async def test_a_report_that_fails_stops_nothing() -> None:
    def broken(status: RoleStatus) -> None:
        raise BrokenPipeError

    async with running(role("a", "steady", 1), role("b", "steady", 2), report=broken) as family:
        assert family.ready


async def test_no_descriptor_is_left_after_many_deaths() -> None:
    async with running(role("api", "steady")) as family:
        before = len(os.listdir("/proc/self/fd"))
        server = Path(f"/proc/{family.status()['roles'][1]['pid']}/fd")
        server_before = len(list(server.iterdir()))
        for _ in range(5):
            killed = named(family, "api").pid
            os.kill(killed, signal.SIGKILL)
            await until(lambda: family.ready and named(family, "api").pid != killed)  # noqa: B023
        assert len(os.listdir("/proc/self/fd")) == before
        assert len(list(server.iterdir())) == server_before


async def test_a_payload_over_the_bound_is_refused_when_the_supervisor_is_made() -> None:
    with pytest.raises(ValueError, match="payload of role a is over"):
        supervisor(RoleSpec("a", "support.roles:steady", 1, b"x" * 40_000))


async def test_a_supervisor_that_can_start_no_process_says_so(monkeypatch) -> None:
    monkeypatch.setattr("sys.executable", "/nonexistent/python")
    family = supervisor(role("a", "steady"))
    with pytest.raises(InternalError, match="cannot be started"):
        await family.start()
