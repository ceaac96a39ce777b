# SPDX-License-Identifier: Apache-2.0
"""What needs no token: the versions, the home document, and the ping.

The home document also carries a `version`, so that SDKs which look for one at `/v2` find it. The
addresses of versions carry the mount's prefix: SDKs resolve them against the host.

Source: draft-nottingham-json-home-03; Zaqar API v2, "API versions", "Ping".
"""

from collections.abc import Sequence
from typing import Any

from transom.queue.api.wire import documents as wire
from transom.queue.app import QueueApp
from transom.runtime.http.route import Answer, Call, Route
from transom.runtime.http.versions import ApiVersion, Versions, version_document, versions_answer

HOME_TYPE = "application/json-home"
JSON = "application/json"

CLAIM = "/queues/{queue_name}/claims/{claim_id}"
SUBSCRIPTIONS = "/queues/{queue_name}/subscriptions"
RELATIONS: dict[str, tuple[str, Sequence[str], str]] = {
    "queues": ("/queues", ("marker", "limit", "detailed", "name", "with_count"), "GET"),
    "queue": ("/queues/{queue_name}", (), "GET HEAD PUT PATCH DELETE"),
    "queue_stats": ("/queues/{queue_name}/stats", (), "GET"),
    "queue_share": ("/queues/{queue_name}/share", (), "POST"),
    "queue_purge": ("/queues/{queue_name}/purge", (), "POST"),
    "queue_redrive": ("/queues/{queue_name}/redrive", (), "POST"),
    "messages": (
        "/queues/{queue_name}/messages",
        ["marker", "limit", "echo", "include_claimed", "include_delayed", "ids", "wait", "details"],
        "GET",
    ),
    "post_messages": ("/queues/{queue_name}/messages", (), "POST"),
    "messages_delete": ("/queues/{queue_name}/messages", ("ids", "claim_ids", "pop"), "DELETE"),
    "message_get": ("/queues/{queue_name}/messages/{message_id}", ("details",), "GET"),
    "message_delete": ("/queues/{queue_name}/messages/{message_id}", ("claim_id",), "DELETE"),
    "post_claim": ("/queues/{queue_name}/claims", ("limit", "wait", "details"), "POST"),
    "claim": ("/queues/{queue_name}/claims/{claim_id}", ("details",), "GET"),
    "patch_claim": ("/queues/{queue_name}/claims/{claim_id}", (), "PATCH"),
    "delete_claim": ("/queues/{queue_name}/claims/{claim_id}", ("delay",), "DELETE"),
    "claim_touch": (f"{CLAIM}/touch", (), "POST"),
    "claim_release": (f"{CLAIM}/release", (), "POST"),
    "claim_reject": (f"{CLAIM}/reject", (), "POST"),
    "post_claims": ("/claims", ("limit", "wait", "details"), "POST"),
    "claims": ("/claims/{claim_id}", ("details", "delay"), "GET PATCH DELETE"),
    "subscriptions_get": (SUBSCRIPTIONS, ("marker", "limit", "details"), "GET"),
    "subscriptions_post": (SUBSCRIPTIONS, (), "POST"),
    "subscription": (f"{SUBSCRIPTIONS}/{{subscription_id}}", ("details",), "GET DELETE"),
    "subscription_patch": (f"{SUBSCRIPTIONS}/{{subscription_id}}", (), "PATCH"),
    "subscription_confirm": (f"{SUBSCRIPTIONS}/{{subscription_id}}/confirm", (), "PUT"),
    "pools": ("/pools", ("detailed", "limit", "marker"), "GET"),
    "pool": ("/pools/{pool_name}", (), "GET PUT PATCH DELETE"),
    "flavors": ("/flavors", ("detailed", "limit", "marker"), "GET"),
    "flavor": ("/flavors/{flavor_name}", (), "GET PUT PATCH DELETE"),
    "health": ("/health", (), "GET"),
    "websocket": ("/websocket", (), "GET"),
    "ping": ("/ping", (), "GET HEAD"),
}
"""Relation -> (path below /v2, parameters of its query, methods). Zaqar's names; what has none
there is named after its path."""

PATH_FIELDS = (
    "queue_name",
    "message_id",
    "claim_id",
    "subscription_id",
    "pool_name",
    "flavor_name",
)


V2 = ApiVersion(
    "2",
    "v2/",
    more={
        "updated": "2014-09-24T04:06:47Z",
        "media-types": [{"base": JSON, "type": "application/vnd.openstack.messaging-v2+json"}],
    },
)


def home_document(prefix: str) -> dict[str, Any]:
    resources = {f"rel/{name}": _resource(*shape) for name, shape in RELATIONS.items()}
    return {"resources": resources, "version": version_document(V2, prefix)}


def _resource(path: str, parameters: Sequence[str], methods: str) -> dict[str, Any]:
    hints: dict[str, Any] = {"allow": methods.split(), "formats": {JSON: {}}}
    if "POST" in hints["allow"]:
        hints["accept-post"] = [JSON]
    fields = [field for field in PATH_FIELDS if f"{{{field}}}" in path]
    names = [*fields, *parameters]
    if not names:
        return {"href": f"/v2{path}", "hints": hints}
    query = f"{{?{','.join(parameters)}}}" if parameters else ""
    return {
        "href-template": f"/v2{path}{query}",
        "href-vars": {name: f"param/{name}" for name in names},
        "hints": hints,
    }


class HomeHandlers:
    """One method a route. `prefix`: of the mount."""

    def __init__(self, app: QueueApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix
        self._home = home_document(prefix)

    def routes(self) -> list[Route]:
        return [
            Route(
                "GET",
                "",
                self.versions,
                public=True,
                answers={300: Versions},
                summary="List versions",
            ),
            Route(
                "GET",
                "/v2",
                self.home,
                public=True,
                answer_types=(JSON, HOME_TYPE),
                answers={200: wire.Home},
                summary="Show the home document",
            ),
            Route(
                "GET",
                "/v2/ping",
                self.ping,
                public=True,
                answers={204: None},
                summary="Whether the queues can be read",
            ),
        ]

    async def versions(self, call: Call[None]) -> Answer:
        return versions_answer([V2], self._prefix)

    async def home(self, call: Call[None]) -> Answer:
        return Answer(200, self._home, media_type=HOME_TYPE)

    async def ping(self, call: Call[None]) -> Answer:
        await self._app.ping()
        return Answer(204)
