# SPDX-License-Identifier: Apache-2.0
"""A worker: claims messages, does the work, deletes them; ends when there is nothing left.

Needs openstacksdk and python-zaqarclient, and a cloud in clouds.yaml:

    python examples/queue_worker.py QUEUE [--cloud transom] [--name ada] [--at-once 2]
"""

import argparse

import openstack
from zaqarclient.queues import client


def connect(cloud_name: str):
    """python-zaqarclient with the token and the endpoint that openstacksdk found."""
    cloud = openstack.connect(cloud=cloud_name)
    options = {
        "os_auth_token": cloud.auth_token,
        "os_auth_url": cloud.config.auth["auth_url"],
        "os_project_id": cloud.current_project_id,
    }
    return client.Client(
        url=cloud.session.get_endpoint(service_type="messaging"),
        version=2,
        conf={"auth_opts": {"backend": "keystone", "options": options}},
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("queue")
    parser.add_argument("--cloud", default="transom")
    parser.add_argument("--name", default="worker")
    parser.add_argument("--at-once", type=int, default=2)
    options = parser.parse_args()
    queue = connect(options.cloud).queue(options.queue)
    while True:
        # Nobody else gets these for `ttl` seconds. If we die, they are free again after that.
        claimed = list(queue.claim(ttl=120, grace=60, limit=options.at_once))
        if not claimed:
            return
        for message in claimed:
            print(options.name, "did", message.body, flush=True)
            message.delete()  # says which claim it belongs to: refused if that has ended


if __name__ == "__main__":
    main()
