"""`[queue] enable_checksum`: every way to a message shows the checksum of its body."""

from pathlib import Path

from support.queues import open_door

MESSAGES, CLAIMS = "/v2/queues/q/messages", "/v2/queues/q/claims"
SEVEN = "MD5:8f14e45fceea167a5a36dedd4bea2543"


async def test_every_answer_has_it_also_of_what_is_encrypted(tmp_path: Path) -> None:
    async with open_door(tmp_path, enable_checksum=True) as door:
        await door.ask("PUT", "/v2/queues/q", {"_enable_encrypt_messages": True})
        new = {"messages": [{"body": 7}, {"body": 7}, {"body": None}]}
        posted = await door.ask("POST", MESSAGES, new)
        one = posted.json()["resources"][0]
        assert (await door.ask("GET", one)).json()["checksum"] == SEVEN
        for method, path, expected in (
            ("GET", f"{MESSAGES}?echo=true", [SEVEN, SEVEN, None]),
            ("POST", f"{CLAIMS}?limit=1", [SEVEN]),
            ("DELETE", f"{MESSAGES}?pop=2", [SEVEN, None]),
        ):
            found = (await door.ask(method, path)).json()["messages"]
            assert [message.get("checksum") for message in found] == expected


async def test_without_the_option_there_is_none(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        await door.ask("POST", MESSAGES, {"messages": [{"body": 7}]})
        (message,) = (await door.ask("GET", f"{MESSAGES}?echo=true")).json()["messages"]
        assert "checksum" not in message
