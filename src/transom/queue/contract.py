# SPDX-License-Identifier: Apache-2.0
"""What other parts may see of the queue: the live table of all queues.

Posting and claiming change no row of it, but for a post that makes its queue.
"""

from transom.messaging.schema import Audience, Column, ColumnKind, Table

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
