"""The options of a `rabbit://` address."""

from dataclasses import fields
from pathlib import Path

import pytest

from transom.errors import InvalidTransportURL
from transom.messaging.drivers import driver_class
from transom.messaging.drivers.rabbit import RabbitDriver
from transom.messaging.drivers.rabbit.options import Host, Options, hosts_of
from transom.messaging.url import TransportURL


def options(query: str) -> Options:
    return Options.of(TransportURL.parse(f"rabbit://host/?{query}"))


def hosts(text: str) -> tuple[Host, ...]:
    url = TransportURL.parse(text)
    return hosts_of(url, Options.of(url))


def test_what_is_given_is_of_the_option_s_type() -> None:
    read = options("amqp_durable_queues=True&rabbit_qos_prefetch_count=7&control_exchange=nova")
    assert read.amqp_durable_queues is True
    assert read.rabbit_qos_prefetch_count == 7
    assert read.control_exchange == "nova"


def test_the_misspelling_of_quorum_queue_is_understood() -> None:
    assert options("rabbit_quorum_queues=yes").rabbit_quorum_queue


@pytest.mark.parametrize(
    "query",
    [
        "no_such_option=1",
        "ssl=perhaps",
        "rabbit_qos_prefetch_count=many",
        "rabbit_qos_prefetch_count=-1",
        "rabbit_retry_interval=nan",
        "rabbit_interval_max=inf",
        "rabbit_login_method=KERBEROS",
        "kombu_compression=rot13",
        "ssl=true&ssl_version=SSLv3",
        "ssl=true&ssl_cert_file=/x",
        "ssl_ca_file=/x",
        "rabbit_stream_fanout=true",
        "heartbeat_timeout_threshold=70000",
    ],
)
def test_what_cannot_be_used_is_refused(query: str) -> None:
    with pytest.raises(InvalidTransportURL):
        options(query)


def test_an_unknown_option_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InvalidTransportURL, match=r"amqp_durable_queues.*ssl_version"):
        options("amqp_durable_queue=1")


def test_hosts_have_ports_and_credentials_of_their_own() -> None:
    assert hosts("rabbit://u:p@a:1,b,[::1]:2/v") == (
        Host("a", 1, "u", "p"),
        Host("b", 5672, "guest", "guest"),
        Host("::1", 2, "guest", "guest"),
    )
    assert hosts("rabbit://u@a/?ssl=1") == (Host("a", 5671, "u", ""),)
    assert hosts("rabbit://") == (Host("localhost", 5672, "guest", "guest"),)


def test_no_password_shows_in_a_repr() -> None:
    assert "secret" not in repr(hosts("rabbit://u:secret@a/"))


def test_both_schemes_lead_to_the_driver() -> None:
    assert driver_class("rabbit") is driver_class("kombu") is RabbitDriver


def test_the_page_lists_each_option_with_its_default_and_meaning() -> None:
    page = (Path(__file__).parents[4] / "docs/howto/use-rabbitmq.md").read_text()
    for option in fields(Options):
        default = option.default
        shown = str(default).lower() if isinstance(default, bool) else f"{default}"
        shown = shown.removesuffix(".0")
        cell = f"`{shown}`" if shown else ""
        assert f"| `{option.name}` | {cell} | {option.metadata['meaning']} |" in page
