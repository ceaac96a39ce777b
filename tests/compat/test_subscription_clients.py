"""Subscriptions by unmodified clients, and by trust with a real Keystone."""

import json
import textwrap
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.keystone import real_keystone
from support.registered import Person, registered
from support.stack import Stack, wait_for
from support.steady_poster import Asker
from support.strict_receiver import strict_receiver

pytestmark = pytest.mark.timeout(300)

ENVIRONMENT = {
    "TRANSOM_QUEUE__WEBHOOK_ALLOW": "127.0.0.0/8",
    "TRANSOM_IDENTITY__PASSWORD_COST_LOG2": "10",
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    started = Stack(tmp_path_factory.mktemp("data"), ENVIRONMENT)
    try:
        yield started.start()
    finally:
        started.stop()


def test_the_openstack_client_subscribes_and_is_told(stack: Stack) -> None:
    with strict_receiver(1, trouble=0) as receiver:
        made = stack.openstack(
            "messaging subscription create -f json cli", f"{receiver.url}/cli", "600"
        )
        assert (made["Subscriber"], made["TTL"]) == (f"{receiver.url}/cli", 600)
        listed = stack.openstack("messaging subscription list -f json cli")
        assert [row["ID"] for row in listed] == [made["ID"]]
        shown = stack.openstack("messaging subscription show -f json cli", made["ID"])
        assert (shown["Confirmed"], shown["Subscriber"]) == (False, f"{receiver.url}/cli")
        stack.openstack("messaging subscription update -f json cli", made["ID"], "--ttl", "700")
        stack.openstack(
            'messaging message post cli \'[{"body": "told", "ttl": 60}]\'',
            "--client-id",
            str(uuid.uuid4()),
        )
        wait_for(lambda: receiver.taken.get("/cli") == ["told"], 20)
        stack.openstack("messaging subscription delete cli", made["ID"])
        assert not stack.openstack("messaging subscription list -f json cli")


ZAQAR = """
import json, openstack
from zaqarclient.queues.v2 import client
cloud = openstack.connect(cloud="transom")
session = cloud.session
options = {"os_auth_token": session.get_token(), "os_project_id": session.get_project_id(),
    "backend": "keystone", "os_auth_url": session.auth.auth_url}
endpoint = session.get_endpoint(service_type="messaging")
zaqar = client.Client(endpoint, 2, {"auth_opts": {"backend": "keystone", "options":
    {"auth_token": session.get_token(), "project_id": session.get_project_id()}}})
"""


def test_zaqarclient_pages_changes_and_ends_subscriptions(stack: Stack) -> None:
    script = """
    made = [zaqar.subscription("zq", subscriber=f"http://trigger.me/{n}", ttl=600,
        options={"a": n}) for n in range(5)]
    seen = [one.subscriber for one in zaqar.subscriptions("zq", limit=2)]
    made[0].update({"ttl": 1000, "subscriber": "http://trigger.you"})
    again = zaqar.subscription("zq", id=made[0].id)
    made[1].delete()
    left = [one.id for one in zaqar.subscriptions("zq")]
    zaqar.queue("zq").purge(resource_types=["subscriptions"])
    none = list(zaqar.subscriptions("zq"))
    print(json.dumps([len(seen), again.ttl, again.subscriber, again.confirmed,
        made[1].id in left, len(left), len(none)]))
    """
    printed = json.loads(stack.python(ZAQAR + textwrap.dedent(script)).splitlines()[-1])
    assert printed[0] in (2, 5)  # the client follows links or does not, by its version
    assert printed[1:] == [1000, "http://trigger.you", False, False, 4, 0]


def test_openstacksdk_subscribes(stack: Stack) -> None:
    script = """
    import json, openstack
    message = openstack.connect(cloud="transom").message
    made = message.create_subscription("sq", subscriber="http://trigger.me", ttl=600)
    shown = message.get_subscription("sq", made.subscription_id)
    listed = [one.subscriber for one in message.subscriptions("sq")]
    message.delete_subscription("sq", made.subscription_id)
    print(json.dumps([shown.ttl, shown.source, listed, len(list(message.subscriptions("sq")))]))
    """
    printed = json.loads(stack.python(textwrap.dedent(script)).splitlines()[-1])
    assert printed == [600, "sq", ["http://trigger.me"], 0]


def test_by_trust_a_queue_may_feed_another_one_of_a_real_keystone(
    tmp_path: Path, made_keystone: Path
) -> None:
    with (
        real_keystone(tmp_path / "keystone", made_keystone) as keystone,  # others register too
        registered(tmp_path / "data", keystone, ENVIRONMENT) as stack,
    ):
        eve = Person(keystone, f"eve-{uuid.uuid4().hex[:8]}", f"feeds-{uuid.uuid4().hex[:8]}")
        asker = Asker(stack.url, eve.token())
        wanted = {
            "subscriber": f"trust+{stack.url}/queue/v2/queues/fed/messages",
            "ttl": 1200,
            "options": {
                "post_data": '{"messages": [{"body": "$zaqar_message$", "ttl": 60}]}',
                "post_headers": {"Client-ID": str(uuid.uuid4()), "X-Project-ID": eve.project_id},
            },
        }
        status, answer = asker.ask("POST", "/v2/queues/source/subscriptions", wanted)
        assert status == 201, answer
        made = json.loads(answer)["subscription_id"]
        _, shown = asker.ask("GET", f"/v2/queues/source/subscriptions/{made}")
        assert json.loads(shown)["options"]["trust_id"]
        message = {"messages": [{"body": {"a": 1}, "ttl": 300}]}
        assert asker.ask("POST", "/v2/queues/source/messages", message)[0] == 201

        def fed() -> Any:
            found = asker.ask("GET", "/v2/queues/fed/messages?echo=true")[1]
            return json.loads(found)["messages"]

        try:
            assert wait_for(fed, 20)[0]["body"] == {
                "ttl": 300,
                "body": {"a": 1},
                "queue_name": "source",
                "Message_Type": "Notification",
            }
        finally:
            asker.close()
