"""Every driver does what drivers must do: the public suite, once a driver and check."""

import os
from collections.abc import Iterator

import pytest

from transom.errors import MessageUndeliverable, MessagingError
from transom.messaging.drivers import driver_class
from transom.messaging.drivers.base import Kind
from transom.messaging.testing import CHECKS, ConformanceError, MakeDriver, check_driver
from transom.messaging.url import TransportURL
from transom.runtime.clock import SystemClock

from support.rabbit import Broker, fresh_vhost


def maker(url: TransportURL) -> MakeDriver:
    kind = driver_class(url.driver)
    return lambda: kind(url, clock=SystemClock(), random=os.urandom)


def memory(request: pytest.FixtureRequest) -> MakeDriver:
    return maker(TransportURL.parse("memory://conformance"))


def rabbit(request: pytest.FixtureRequest) -> MakeDriver:
    """On a virtual host of this run."""
    broker: Broker = request.getfixturevalue("rabbit")
    return maker(TransportURL.parse(broker.url))


def rabbit_quorum(request: pytest.FixtureRequest) -> MakeDriver:
    """With quorum queues for everything, on a virtual host of its own: flags would differ."""
    broker: Broker = request.getfixturevalue("rabbit_quorum_vhost")
    options = "rabbit_quorum_queue=true&rabbit_transient_quorum_queue=true"
    return maker(TransportURL.parse(f"{broker.url}?{options}"))


# Each world gives `make_driver` for a bus that its drivers share.
WORLDS = {"memory": memory, "rabbit": rabbit, "rabbit-quorum": rabbit_quorum}


@pytest.fixture(scope="module")
def rabbit_quorum_vhost() -> Iterator[Broker]:
    with fresh_vhost() as broker:
        yield broker


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("driver", WORLDS)
async def test_driver_conforms(driver: str, check: str, request: pytest.FixtureRequest) -> None:
    await check_driver(WORLDS[driver](request), [check])


class Deaf:
    """A driver that is wrong: it forgets that a mandatory send to nobody is an error."""

    def __init__(self, inner: object) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def send(self, address, body, sent, *, deadline_s, mandatory=False):
        def told(error: MessagingError | None) -> None:
            sent(None if isinstance(error, MessageUndeliverable) else error)

        if address.kind is Kind.FANOUT and body == b"3":
            sent(None)
        else:
            self._inner.send(address, body, told, deadline_s=deadline_s, mandatory=mandatory)


@pytest.mark.parametrize(
    "check", ["mandatory_to_nobody_fails_at_once", "mandatory_misses_a_listener_that_left"]
)
async def test_suite_finds_a_driver_that_hides_undeliverable_messages(
    check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transom.messaging.testing.WAIT_S", 0.5)
    make_driver = maker(TransportURL.parse("memory://deaf"))
    with pytest.raises(ConformanceError):
        await check_driver(lambda: Deaf(make_driver()), [check])


async def test_suite_finds_a_driver_that_loses_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transom.messaging.testing.WAIT_S", 0.5)
    make_driver = maker(TransportURL.parse("memory://lossy"))
    with pytest.raises(ConformanceError, match="9 of 10"):
        await check_driver(lambda: Deaf(make_driver()), ["fan_out_reaches_every_server"])


async def test_a_full_queue_with_a_listener_refuses_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("transom.messaging.drivers.memory.QUEUE_MAX", 5)
    make_driver = maker(TransportURL.parse("memory://full"))
    await check_driver(make_driver, ["a_send_ends_by_its_deadline", "order_is_kept_per_sender"])
