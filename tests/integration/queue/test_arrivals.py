"""Messages that come from another database: each once, whatever befalls the way or the target."""

from pathlib import Path

import pytest

from transom.queue.model import ClientId, MessageFilter, MessageId, Place
from transom.queue.service import QueueService
from transom.queue.store.letters import Arriving
from transom.queue.store.verbs.letters import Arrive

from support.queues import PROJECTS, MovedClock, open_service

pytestmark = pytest.mark.usefixtures("engine")

CONTEXT = PROJECTS["token-a"]
TARGET = Place("a", "dead")
FIRST, SECOND, THIRD = (
    Arriving(MessageId(number, 7), 300, None, None, ClientId(b"c" * 16), b'"%d"' % number, None)
    for number in (1, 2, 3)
)


async def bodies(service: QueueService) -> list[bytes]:
    found = await service.app.messages.page(CONTEXT, "dead", MessageFilter(), None, 10)
    return [message.body for message in found]


async def test_what_has_arrived_arrives_once(tmp_path: Path) -> None:
    async with open_service(tmp_path, MovedClock(), 1) as service:
        assert await service.writer.write(Arrive(TARGET, (FIRST, SECOND))) is True
        assert await service.writer.write(Arrive(TARGET, (FIRST, SECOND, THIRD))) is False
        assert await service.writer.write(Arrive(TARGET, (THIRD,))) is False
        assert await bodies(service) == [FIRST.body, SECOND.body, THIRD.body]


async def test_what_had_arrived_before_its_queue_was_given_up_stays_away(tmp_path: Path) -> None:
    """Who brought it ended before it could say so in the database that it left."""
    async with open_service(tmp_path, MovedClock(), 1) as service:
        await service.writer.write(Arrive(TARGET, (FIRST,)))
        await service.app.queues.delete(CONTEXT, "dead")
        assert await service.writer.write(Arrive(TARGET, (FIRST,))) is False
        assert not await service.app.queues.exists(CONTEXT, "dead")
        assert await service.writer.write(Arrive(TARGET, (FIRST, SECOND))) is True
        assert await bodies(service) == [SECOND.body]
