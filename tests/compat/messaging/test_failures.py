# SPDX-License-Identifier: Apache-2.0
"""What an endpoint raises comes to the caller; versions and namespaces are refused alike."""

import pytest

from support.interop import Pair, Program, kinds, remote_kind, text

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_builtin_error_comes_by_its_name_with_its_text(pair: Pair) -> None:
    target = await pair.serve()
    args = {"text": "zu groß"}
    outcome = await pair.client.ask("call", target=target, method="fail", args=args, timeout=10)
    assert remote_kind(outcome) == "ValueError"
    assert "zu groß" in text(outcome)
    if isinstance(pair.client, Program):
        assert outcome["error"]["class"] == "ValueError"  # built anew: it is caught as such


async def test_an_error_of_an_allowed_module_is_built_anew(pair: Pair) -> None:
    target = await pair.serve()
    call = {"target": target, "method": "fail_known", "args": {"what": "bread"}, "timeout": 10}
    outcome = await pair.client.ask("call", **call)
    assert remote_kind(outcome) == "Sold"
    assert "('what', 'bread')" in text(outcome)
    if isinstance(pair.client, Program):
        assert "Sold" in kinds(outcome)


async def test_an_error_that_the_caller_does_not_know_comes_as_a_remote_error(pair: Pair) -> None:
    target = await pair.serve()
    call = {"target": target, "method": "fail_as_transom", "timeout": 10}
    outcome = await pair.client.ask("call", **call)
    assert remote_kind(outcome) == "NotFound"
    assert "no such thing" in text(outcome)
    known = "RemoteError" if isinstance(pair.client, Program) else "NotFound"
    assert outcome["error"]["class"] == known


async def test_an_expected_exception_is_an_answer_that_nobody_logs(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    target = await pair.serve()
    outcome = await pair.client.ask("call", target=target, method="fail_expected", timeout=10)
    assert remote_kind(outcome) == "KeyError"
    logged = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    if isinstance(pair.server, Program):
        logged = await pair.server.ask("logged")
    assert not any("absent" in line or "endpoint failed" in line for line in logged)


async def test_a_method_that_is_not_there_is_said_to_be_so(pair: Pair) -> None:
    target = await pair.serve()
    outcome = await pair.client.ask("call", target=target, method="no_such", timeout=10)
    assert remote_kind(outcome) == "NoSuchMethod"


@pytest.mark.parametrize("version", ["1.1", "2.4", "3.0", "2.3.2"])
async def test_a_version_that_is_not_served_is_refused(pair: Pair, version: str) -> None:
    target = {**await pair.serve(), "version": version}
    outcome = await pair.client.ask("call", target=target, method="which", timeout=10)
    assert remote_kind(outcome) == "UnsupportedVersion"


@pytest.mark.parametrize("version", ["2.0", "2.3", "2.2.9", "2.3.1"])
async def test_a_version_that_is_served_is_answered(pair: Pair, version: str) -> None:
    target = {**await pair.serve(), "version": version}
    outcome = await pair.client.ask("call", target=target, method="which", timeout=10)
    assert outcome["result"] == "second"


@pytest.mark.parametrize("namespace", ["things", "objects"])
async def test_an_interface_is_found_by_its_namespace_and_its_older_one(
    pair: Pair, namespace: str
) -> None:
    target = {**await pair.serve(), "namespace": namespace, "version": "1.5"}
    call = {"target": target, "method": "size", "args": {"x": "four"}, "timeout": 10}
    assert (await pair.client.ask("call", **call))["result"] == ["things", 4]


async def test_a_namespace_that_is_not_served_is_refused(pair: Pair) -> None:
    target = {**await pair.serve(), "namespace": "elsewhere"}
    outcome = await pair.client.ask("call", target=target, method="echo", timeout=10)
    assert remote_kind(outcome) == "UnsupportedVersion"


async def test_a_request_without_a_version_asks_for_1_0(pair: Pair) -> None:
    target = await pair.serve()
    echo = {"target": target, "method": "echo", "args": {"x": 1}, "timeout": 10}
    assert (await pair.client.ask("call", **echo))["result"] == 1
    outcome = await pair.client.ask("call", target=target, method="which", timeout=10)
    assert remote_kind(outcome) == "NoSuchMethod"


async def test_a_cap_keeps_a_newer_request_from_being_sent(pair: Pair) -> None:
    target = {**await pair.serve(), "version": "2.3"}
    call = {"target": target, "method": "which", "timeout": 10}
    assert (await pair.client.ask("call", **call, version_cap="2.3"))["result"] == "second"
    outcome = await pair.client.ask("call", **call, version_cap="2.2")
    assert outcome["error"]["class"] in ("RPCVersionCapError", "VersionCapError")
    for version, may in (("2.2", True), ("2.3", False), ("1.0", False), ("2.1.7", True)):
        asked = {"target": target, "version": version, "version_cap": "2.2"}
        assert await pair.client.ask("can_send", **asked) is may
