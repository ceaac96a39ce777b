# SPDX-License-Identifier: Apache-2.0
"""Access rules and the audit log of a whole Transom, as an operator and a bad day meet them."""

import asyncio
import json
import multiprocessing
import os
import signal
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest

from transom.runtime.telemetry.audit import AuditLog, Entry

from support.identity import by_password, on_project, password_of
from support.stack import Stack, running, wait_for

CLIENT = "3381af92-2b9e-11e3-b191-71861300734c"
BODY = json.dumps({"messages": [{"body": 1}]}).encode()
WRITERS, LINES_EACH = 4, 1500


def signed_in_at(stack: Stack) -> str:
    body = by_password("admin", password_of(stack.data), on_project("admin"))
    request = urllib.request.Request(
        f"{stack.url}/identity/v3/auth/tokens", json.dumps(body).encode(), method="POST",
        headers={"Content-Type": "application/json"},
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(answer.headers["X-Subject-Token"])


def post(stack: Stack, token: str) -> tuple[int, str]:
    """(status, request id); status 0 where no answer came."""
    request = urllib.request.Request(
        f"{stack.url}/queue/v2/queues/q/messages", BODY, method="POST",
        headers={"X-Auth-Token": token, "Client-ID": CLIENT, "Content-Type": "application/json"},
    )  # fmt: skip
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers["X-Openstack-Request-Id"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["X-Openstack-Request-Id"]
    except OSError:
        return 0, ""


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.timeout(180)
def test_rules_change_while_it_runs_and_no_answered_request_lacks_its_line(tmp_path):
    with running(tmp_path / "data") as stack:
        token = signed_in_at(stack)
        answered: list[tuple[int, str]] = [post(stack, token)]
        assert answered[0][0] == 201

        policy = stack.data / "policy" / "queue.yaml"
        policy.parent.mkdir()
        policy.write_text("messages:create: role:somebody_else\n")
        wait_for(lambda: answered.append(post(stack, token)) or answered[-1][0] == 403, 30)
        broken = policy.with_suffix(".new")
        broken.write_text("messages:create: 'role:'\n")
        broken.rename(policy)
        said = stack.transom("config", "check", check=False)
        assert said.returncode == 1
        assert "rule 'messages:create' has 'role:'" in said.stderr
        wait_for(lambda: "policy file cannot be used" in stack.logs(), 30)
        answered.append(post(stack, token))
        assert answered[-1][0] == 403
        policy.write_text("# the defaults\n")
        wait_for(lambda: answered.append(post(stack, token)) or answered[-1][0] == 201, 30)

        api = stack.role("api")["pid"]
        answered += [post(stack, token) for _ in range(40)]
        os.kill(api, signal.SIGKILL)
        wait_for(lambda: answered.append(post(stack, token)) or answered[-1][0] == 201, 30)

    log = stack.data / "logs" / "audit.log"
    assert log.stat().st_mode & 0o777 == 0o600
    told = {line["request_id"]: line for line in lines(log)}
    outcomes = {201: "allowed", 403: "denied"}
    for status, request_id in answered:
        if status:
            assert told[request_id]["outcome"] == outcomes.get(status, "failed")
            assert told[request_id]["caller"]["user_name"] == "admin"
    assert {status for status, _ in answered} >= {201, 403}
    assert token not in log.read_text()
    signed_in = [line for line in told.values() if str(line["path"]).endswith("/auth/tokens")]
    assert {"admin", "transom"} <= {line["caller"]["user_name"] for line in signed_in}


def write_many(path: Path, writer: int) -> None:
    async def write() -> None:
        log = AuditLog(path, file_bytes=100_000, old_files=100)
        await log.start()
        for number in range(LINES_EACH):
            entry = Entry(
                datetime.now(UTC), f"req-{writer}-{number}", "allowed", 201, "POST", "/queue",
                "/x" * (number % 300), 1,
            )  # fmt: skip
            assert log.write(entry, float(number // 50))
        await log.stop()

    asyncio.run(write())


def test_lines_of_several_processes_never_mix_while_files_are_moved_on(tmp_path):
    path = tmp_path / "audit.log"
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=write_many, args=(path, number)) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    files = list(tmp_path.glob("audit.log*"))
    assert len(files) > 5
    found = sorted(str(line["request_id"]) for file in files for line in lines(file))
    expected = [f"req-{one}-{number}" for one in range(WRITERS) for number in range(LINES_EACH)]
    assert found == sorted(expected)
