# SPDX-License-Identifier: Apache-2.0
"""What others may see of the queue: the live table of all queues, and the access rules.

Posting and claiming change no row of the table, but for a post that makes its queue.
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

TABLES = (QUEUES,)

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
    ),
    _of_project(
        "claims:create", "rule:project_writer", "Claim messages.", "POST /v2/queues/{queue}/claims"
    ),
    _of_project(
        "claims:update",
        "rule:project_writer",
        "Renew a claim.",
        "PATCH /v2/queues/{queue}/claims/{claim}",
    ),
    _of_project(
        "claims:delete",
        "rule:project_writer",
        "Give a claim up.",
        "DELETE /v2/queues/{queue}/claims/{claim}",
    ),
)
"""Zaqar's rule names. Zaqar lets every caller with a role do everything in its project; here one
whose only standard role is `reader` cannot change anything."""
