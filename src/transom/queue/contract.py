# SPDX-License-Identifier: Apache-2.0
"""What others may see of the queue: its live tables, and the access rules.

Posting and claiming change no row of `queue:queues`, but for a post that makes its queue.
"""

from transom.messaging.schema import Audience, Column, ColumnKind, Table
from transom.runtime.auth.declared import AccessRule

SOURCE = "queue"

QUEUES = Table(
    name="queue:queues",
    columns=(
        Column("project_id", ColumnKind.TEXT, "The project that the queue belongs to."),
        Column("name", ColumnKind.TEXT, "The queue's name within the project."),
        Column("metadata", ColumnKind.JSON, "The object that its owner gave, without defaults."),
        Column("created", ColumnKind.TIME_MS, "When the queue was made."),
    ),
    key=("project_id", "name"),
    owner="project_id",
    audience=Audience.PROJECT,
    version=1,
)

SUBSCRIPTIONS = Table(
    name="queue:subscriptions",
    columns=(
        Column("project_id", ColumnKind.TEXT, "The project that the queue belongs to."),
        Column("queue", ColumnKind.TEXT, "The queue that is subscribed to."),
        Column("id", ColumnKind.TEXT, "The subscription's id."),
        Column("subscriber", ColumnKind.TEXT, "Scheme and host, or mailto; no more of the URL."),
        Column("confirmed", ColumnKind.BOOLEAN, "Whether the subscriber has confirmed."),
        Column("state", ColumnKind.TEXT, "delivers, fails or waits_for_confirmation."),
        Column("last_error", ColumnKind.TEXT, "Why the first of the tries that fail did so."),
        Column("created", ColumnKind.TIME_MS, "When it was made."),
        Column("expires", ColumnKind.TIME_MS, "When it ends."),
    ),
    key=("project_id", "queue", "id"),
    owner="project_id",
    audience=Audience.PROJECT,
    version=1,
)

STATS = Table(
    name="queue:stats",
    columns=(
        Column("project_id", ColumnKind.TEXT, "The project that the queue belongs to."),
        Column("name", ColumnKind.TEXT, "The queue's name within the project."),
        Column("free", ColumnKind.INTEGER, "Messages that a claim would find."),
        Column("claimed", ColumnKind.INTEGER, "Messages under a live claim."),
        Column("delayed", ColumnKind.INTEGER, "Messages whose delay has not passed."),
        Column("oldest", ColumnKind.TIME_MS, "When the oldest of them was posted; null if none."),
        Column("body_bytes", ColumnKind.INTEGER, "Bytes of the bodies that it keeps."),
        Column("posted", ColumnKind.INTEGER, "Messages that came to it so far."),
        Column("expired", ColumnKind.INTEGER, "Messages that expired in it so far."),
    ),
    key=("project_id", "name"),
    owner="project_id",
    audience=Audience.PROJECT,
    version=1,
)
"""Derived from the others and kept in memory by who publishes it (see `queue.bus.overview`)."""

TABLES = (
    QUEUES,
    SUBSCRIPTIONS,
)

OWN = ("project_id",)
"""What a rule may compare with: the project whose queues they are, which is the caller's."""


def _of_project(name: str, text: str, meaning: str, *operations: str) -> AccessRule:
    return AccessRule(name, text, meaning, operations, OWN, "project")


DEFAULT_RULES = (
    AccessRule("project_reader", "", "Who may look at queues and messages.", targets=OWN),
    AccessRule(
        "project_writer",
        "role:member or role:admin or not role:reader",
        "Who may change queues and messages.",
        targets=OWN,
    ),
    _of_project(
        "queues:get_all", "rule:project_reader", "List the project's queues.", "GET /v2/queues"
    ),
    _of_project(
        "queues:get",
        "rule:project_reader",
        "Show a queue's metadata, or whether it is there.",
        "GET /v2/queues/{queue}",
        "HEAD /v2/queues/{queue}",
    ),
    _of_project(
        "queues:stats",
        "rule:project_reader",
        "Show how many messages wait and are claimed.",
        "GET /v2/queues/{queue}/stats",
    ),
    _of_project("queues:create", "rule:project_writer", "Make a queue.", "PUT /v2/queues/{queue}"),
    _of_project(
        "queues:update",
        "rule:project_writer",
        "Change a queue's metadata.",
        "PATCH /v2/queues/{queue}",
    ),
    _of_project(
        "queues:delete",
        "rule:project_writer",
        "Delete a queue with all that is in it.",
        "DELETE /v2/queues/{queue}",
    ),
    _of_project(
        "queues:purge", "rule:project_writer", "Empty a queue.", "POST /v2/queues/{queue}/purge"
    ),
    _of_project(
        "queues:share",
        "rule:project_reader",
        "Sign a URL for others; only for calls that one may make oneself.",
        "POST /v2/queues/{queue}/share",
    ),
    _of_project(
        "queues:redrive",
        "rule:project_writer",
        "Move dead letters back to where they came from, or to another queue.",
        "POST /v2/queues/{queue}/redrive",
    ),
    _of_project(
        "health:get",
        "role:admin",
        "Try every store, and see how much is in all of them.",
        "GET /v2/health",
    ),
    _of_project(
        "messages:get_all",
        "rule:project_reader",
        "List messages, or get several by their ids.",
        "GET /v2/queues/{queue}/messages",
    ),
    _of_project(
        "messages:get",
        "rule:project_reader",
        "Show a message.",
        "GET /v2/queues/{queue}/messages/{message}",
    ),
    _of_project(
        "messages:create",
        "rule:project_writer",
        "Post messages; the queue comes to be.",
        "POST /v2/queues/{queue}/messages",
    ),
    _of_project(
        "messages:delete",
        "rule:project_writer",
        "Delete a message.",
        "DELETE /v2/queues/{queue}/messages/{message}",
    ),
    _of_project(
        "messages:delete_all",
        "rule:project_writer",
        "Delete messages by their ids, or pop the first ones.",
        "DELETE /v2/queues/{queue}/messages",
    ),
    _of_project(
        "claims:get",
        "rule:project_reader",
        "Show a claim.",
        "GET /v2/queues/{queue}/claims/{claim}",
        "GET /v2/claims/{claim}",
    ),
    _of_project(
        "claims:create",
        "rule:project_writer",
        "Claim messages.",
        "POST /v2/queues/{queue}/claims",
        "POST /v2/claims",
    ),
    _of_project(
        "claims:update",
        "rule:project_writer",
        "Renew a claim or parts of it; reject what it holds.",
        "PATCH /v2/queues/{queue}/claims/{claim}",
        "PATCH /v2/claims/{claim}",
        "POST /v2/queues/{queue}/claims/{claim}/touch",
        "POST /v2/queues/{queue}/claims/{claim}/reject",
    ),
    _of_project(
        "claims:delete",
        "rule:project_writer",
        "Give a claim up, or parts of it.",
        "DELETE /v2/queues/{queue}/claims/{claim}",
        "DELETE /v2/claims/{claim}",
        "POST /v2/queues/{queue}/claims/{claim}/release",
    ),
    _of_project(
        "subscription:get_all",
        "rule:project_reader",
        "List the subscriptions of a queue.",
        "GET /v2/queues/{queue}/subscriptions",
    ),
    _of_project(
        "subscription:create",
        "rule:project_writer",
        "Have somebody told of what is posted to a queue.",
        "POST /v2/queues/{queue}/subscriptions",
    ),
    _of_project(
        "subscription:get",
        "rule:project_reader",
        "Show a subscription.",
        "GET /v2/queues/{queue}/subscriptions/{subscription}",
    ),
    _of_project(
        "subscription:update",
        "rule:project_writer",
        "Change a subscription.",
        "PATCH /v2/queues/{queue}/subscriptions/{subscription}",
    ),
    _of_project(
        "subscription:delete",
        "rule:project_writer",
        "End a subscription.",
        "DELETE /v2/queues/{queue}/subscriptions/{subscription}",
    ),
    _of_project(
        "subscription:confirm",
        "rule:project_writer",
        "Confirm a subscription, or refuse it.",
        "PUT /v2/queues/{queue}/subscriptions/{subscription}/confirm",
    ),
    AccessRule("pools:get_all", "role:admin", "List pools.", ("GET /v2/pools",)),
    AccessRule("pools:get", "role:admin", "Show a pool.", ("GET /v2/pools/{pool}",)),
    AccessRule("pools:create", "role:admin", "Add a pool.", ("PUT /v2/pools/{pool}",)),
    AccessRule("pools:update", "role:admin", "Change a pool.", ("PATCH /v2/pools/{pool}",)),
    AccessRule("pools:delete", "role:admin", "Remove a pool.", ("DELETE /v2/pools/{pool}",)),
    AccessRule("flavors:get_all", "", "List flavors.", ("GET /v2/flavors",)),
    AccessRule("flavors:get", "", "Show a flavor.", ("GET /v2/flavors/{flavor}",)),
    AccessRule(
        "flavors:create",
        "role:admin",
        "Make a flavor, or replace its pools.",
        ("PUT /v2/flavors/{flavor}",),
    ),
    AccessRule("flavors:update", "role:admin", "Change a flavor.", ("PATCH /v2/flavors/{flavor}",)),
    AccessRule(
        "flavors:delete", "role:admin", "Remove a flavor.", ("DELETE /v2/flavors/{flavor}",)
    ),
)
"""Zaqar's rule names. Zaqar lets every caller with a role do everything in its project; here one
whose only standard role is `reader` cannot change anything."""
