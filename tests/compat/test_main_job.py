# SPDX-License-Identifier: Apache-2.0
"""The main job, with unmodified clients and the `clouds.yaml` that the product wrote."""

import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.stack import Stack, running, wait_for

CLIENT = str(uuid.uuid4())

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("main-job")) as stack:
        yield stack


def test_the_client_issues_a_token_and_lists_the_catalogue(stack: Stack) -> None:
    token = stack.openstack("token issue -f json")
    assert token["project_id"]
    services = {row["Type"] for row in stack.openstack("catalog list -f json")}
    assert {"identity", "messaging", "messaging-websocket"} <= services
    assert "admin" in {row["Name"] for row in stack.openstack("project list -f json")}


def test_a_queues_life_with_the_openstack_client(stack: Stack) -> None:
    stack.openstack("messaging queue create life -f json")
    assert "life" in {row["Name"] for row in stack.openstack("messaging queue list -f json")}
    body = json.dumps([{"body": {"job": number}, "ttl": 300} for number in range(3)])
    stack.openstack(f"messaging message post life --client-id {CLIENT}", body)
    listed = stack.openstack(f"messaging message list life --echo --client-id {CLIENT} -f json")
    assert len(listed) == 3
    claimed = stack.openstack("messaging claim create life --limit 2 -f json")
    assert len(claimed) == 2
    claim = claimed[0]["Claim_ID"]
    assert len(stack.openstack(f"messaging claim query life {claim} -f json")) == 2
    stack.openstack(f"messaging claim renew life {claim} --ttl 120 --grace 60 -f json")
    free = stack.openstack(f"messaging message list life --echo --client-id {CLIENT} -f json")
    assert len(free) == 1
    stack.openstack(f"messaging claim release life {claim}")
    free = stack.openstack(f"messaging message list life --echo --client-id {CLIENT} -f json")
    assert len(free) == 3
    stats = stack.openstack("messaging queue stats life -f json")
    assert stats
    stack.openstack("messaging queue delete life")
    assert "life" not in {row["Name"] for row in stack.openstack("messaging queue list -f json")}


def test_zaqarclient_deletes_messages_and_claims(stack: Stack) -> None:
    printed = stack.python(
        """
import openstack
from zaqarclient.queues import client
cloud = openstack.connect(cloud="transom")
token, project = cloud.auth_token, cloud.current_project_id
options = {"os_auth_token": token, "os_auth_url": cloud.config.auth["auth_url"],
    "os_project_id": project}
conf = {"auth_opts": {"backend": "keystone", "options": options}}
url = cloud.session.get_endpoint(service_type="messaging")
zaqar = client.Client(url=url, version=2, conf=conf)
queue = zaqar.queue("zaqar")
queue.post([{"body": n, "ttl": 300} for n in range(5)])
claim = queue.claim(ttl=120, grace=60, limit=3)
messages = list(claim)
assert [m.body for m in messages] == [0, 1, 2], messages
messages[0].delete()
claim.delete()
left = [m.body for m in queue.messages(echo=True)]
assert left == [1, 2, 3, 4], left
assert queue.stats["messages"]["free"] == 4, queue.stats
popped = [m.body for m in queue.pop(count=2)]
assert popped == [1, 2], popped
queue.delete()
print("done")
"""
    )
    assert printed.strip() == "done"


def test_openstacksdk_deletes_messages_and_claims(stack: Stack) -> None:
    printed = stack.python(
        """
import openstack
cloud = openstack.connect(cloud="transom")
message = cloud.message
message.create_queue(name="sdk")
assert "sdk" in [q.name for q in message.queues()]
posted = message.post_message("sdk", [{"body": {"k": n}, "ttl": 300} for n in range(2)])
ids = [href.rsplit("/", 1)[1] for href in posted]
assert message.get_message("sdk", ids[0]).body == {"k": 0}
answer = message.post("/queues/sdk/claims?limit=1", json={"ttl": 300, "grace": 60},
    headers={"Client-ID": "3381af92-2b9e-11e3-b191-71861300734c"})
assert answer.status_code == 201, answer.text
claim = message.get_claim("sdk", answer.headers["Location"].rsplit("/", 1)[1])
message.update_claim("sdk", claim.id, ttl=100, grace=60)
message.delete_message("sdk", ids[0], claim=claim.id)
message.delete_claim("sdk", claim.id)
message.delete_message("sdk", ids[1])
assert [m.body for m in message.messages("sdk", echo=True)] == []
message.delete_queue("sdk")
print("done")
"""
    )
    assert printed.strip() == "done"


def test_a_watch_in_another_process_sees_the_queue_appear_and_vanish(stack: Stack) -> None:
    watch = subprocess.Popen(
        [sys.executable, "-m", "transom.cli", "tables", "watch", "queue:queues", "--json",
         "--data-dir", str(stack.data)],
        env=stack.environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert watch.stdout is not None
        seen: list[dict[str, object]] = []

        def next_about(name: str) -> dict[str, object]:
            while True:
                line = watch.stdout.readline()
                assert line, "the watch ended"
                seen.append(json.loads(line))
                if seen[-1].get("key", [None])[-1] == name:
                    return seen[-1]

        while json.loads(watch.stdout.readline()).get("state") != "live":
            pass
        stack.openstack("messaging queue create watched -f json")
        assert next_about("watched")["row"] is not None
        stack.openstack("messaging queue delete watched")
        assert next_about("watched")["row"] is None
    finally:
        watch.send_signal(signal.SIGINT)
        watch.wait(10)
        watch.stdout.close()


def test_a_revoked_token_opens_no_door_any_more(stack: Stack) -> None:
    printed = stack.python(
        """
import openstack, requests
cloud = openstack.connect(cloud="transom")
token, url = cloud.auth_token, cloud.session.get_endpoint(service_type="messaging")
headers = {"X-Auth-Token": token, "Client-ID": "3381af92-2b9e-11e3-b191-71861300734c"}
assert requests.get(url + "/v2/queues", headers=headers).status_code == 200
auth = cloud.config.auth["auth_url"].rstrip("/")
auth = auth if auth.endswith("/v3") else auth + "/v3"
gone = requests.delete(auth + "/auth/tokens",
    headers={"X-Auth-Token": token, "X-Subject-Token": token})
assert gone.status_code == 204, gone.text
assert requests.get(url + "/v2/queues", headers=headers).status_code == 401
print("done")
"""
    )
    assert printed.strip() == "done"


def test_what_was_acknowledged_survives_a_kill_of_the_process(stack: Stack) -> None:
    stack.openstack("messaging queue create kept -f json")
    body = json.dumps([{"body": "kept", "ttl": 300}])
    stack.openstack(f"messaging message post kept --client-id {CLIENT}", body)
    victim = stack.role("api")["pid"]
    subprocess.run(["kill", "-9", str(victim)], check=True)
    wait_for(lambda: stack.role("api")["pid"] not in (None, victim) and stack.role("api")["ready"])
    listed = stack.openstack(f"messaging message list kept --echo --client-id {CLIENT} -f json")
    assert [row["Body"] for row in listed] == ["kept"]


def test_the_files_with_the_password_are_their_owners_alone(stack: Stack) -> None:
    for name in ("clouds.yaml", "openrc"):
        assert (stack.data / name).stat().st_mode & 0o777 == 0o600
    password = Path(stack.data / "openrc").read_text().split("OS_PASSWORD=")[1].split()[0]
    assert password.strip("'\"") not in stack.logs()
