# SPDX-License-Identifier: Apache-2.0
"""Calls, casts and fan-out between clients and servers of both kinds."""

import pytest

from support.interop import Pair, Program, kinds

pytestmark = pytest.mark.asyncio(loop_scope="module")

VALUES = {
    "nothing": None,
    "numbers": [0, -1, 2**62, 1.5, True],
    "text": 'Grüße, \u65e5\u672c\u8a9e, \U0001f600, \u2028, \\ " / \u0007 \u0000',
    "nested": {"a": {"b": [None, {}, [], ""]}, "Ω": 1},
    "envelope": {"oslo.version": "2.0", "oslo.message": "{}"},
}


@pytest.mark.parametrize("name", VALUES)
async def test_a_value_comes_back_as_it_went(pair: Pair, name: str) -> None:
    target = await pair.serve()
    args = {"x": VALUES[name]}
    answer = await pair.client.ask("call", target=target, method="echo", args=args, timeout=10)
    assert answer["result"] == VALUES[name]


async def test_a_method_without_a_result_answers_with_none(pair: Pair) -> None:
    target = await pair.serve()
    answer = await pair.client.ask("call", target=target, method="nothing", timeout=10)
    assert answer["result"] is None


async def test_a_megabyte_goes_and_comes_in_several_frames(pair: Pair) -> None:
    target = await pair.serve()
    x = "".join(chr(97 + at % 26) for at in range(1_000_000))
    call = {"target": target, "method": "echo", "args": {"x": x}, "timeout": 30}
    assert (await pair.client.ask("call", **call))["result"] == x
    await pair.client.ask("cast", target=target, method="note", args={"x": x})
    seen = await pair.server.ask("seen", name=f"{pair.topic}.s1", at_least=1)
    assert seen == [["s1", x]]


async def test_the_context_arrives_whole(pair: Pair) -> None:
    target = await pair.serve()
    context = {"request_id": "req-1", "roles": ["a", "b"], "is_admin": True, "é": None}
    call = {"target": target, "method": "context", "context": context, "timeout": 10}
    arrived = (await pair.client.ask("call", **call))["result"]
    assert arrived.items() >= context.items()


async def test_context_keys_with_the_names_of_the_wire_do_no_harm(pair: Pair) -> None:
    """The answer comes. A server of theirs takes `msg_id` and `reply_q` out of the context and lays
    the call's own monitor timeout over `client_timeout`; ours hands over the context as it was."""
    target = await pair.serve()
    context = {
        "msg_id": "mine", "reply_q": "nowhere", "client_timeout": 0.5, "request_id": "req-1",
    }  # fmt: skip
    call = {"target": target, "method": "context", "context": context, "timeout": 10}
    arrived = (await pair.client.ask("call", **call))["result"]
    if isinstance(pair.server, Program):
        assert arrived == {"client_timeout": None, "request_id": "req-1"}
    else:
        assert arrived == context


async def test_a_server_can_be_called_alone(pair: Pair) -> None:
    await pair.serve("s1")
    target = await pair.serve("s2")
    for server in ("s1", "s2", "s1", "s2"):
        call = {"target": {**target, "server": server}, "method": "who", "timeout": 10}
        assert (await pair.client.ask("call", **call))["result"] == server


async def test_a_cast_is_carried_out_once(pair: Pair) -> None:
    target = await pair.serve()
    for x in range(50):
        await pair.client.ask("cast", target=target, method="note", args={"x": x})
    seen = await pair.server.ask("seen", name=f"{pair.topic}.s1", at_least=50)
    assert sorted(x for _, x in seen) == list(range(50))


async def test_fan_out_reaches_every_server_once(pair: Pair) -> None:
    for server in ("s1", "s2", "s3"):
        target = await pair.serve(server)
    fanout = {**target, "fanout": True}
    for x in range(10):
        await pair.client.ask("cast", target=fanout, method="note", args={"x": x})
    for server in ("s1", "s2", "s3"):
        seen = await pair.server.ask("seen", name=f"{pair.topic}.{server}", at_least=10)
        assert sorted(x for _, x in seen) == list(range(10))


async def test_an_exchange_has_only_its_own_servers(pair: Pair) -> None:
    target = await pair.serve("s1", exchange="nova")
    call = {"method": "who", "timeout": 10, "mandatory": True}
    assert (await pair.client.ask("call", target=target, **call))["result"] == "s1"
    elsewhere = await pair.client.ask("call", target={**target, "exchange": "neutron"}, **call)
    assert "MessageUndeliverable" in kinds(elsewhere)
