"""Each statement of a hot path finds its rows by an index, in order, without sorting."""

import sqlite3
from pathlib import Path

import pytest

from transom.queue.store import (
    availability,
    claims,
    deliveries,
    keys,
    letters,
    many_claims,
    messages,
    notices,
    overview,
    parts,
    posts,
    queues,
    rows,
    stats,
    subscriptions,
    sweep,
    undeliverable,
    usage,
)

from support.queues import MovedClock, open_service

STATEMENTS = {
    f"{module.__name__.rpartition('.')[2]}.{name}": text
    for module in (
        availability,
        claims,
        many_claims,
        overview,
        parts,
        posts,
        usage,
        keys,
        letters,
        messages,
        queues,
        rows,
        stats,
        sweep,
        deliveries,
        notices,
        subscriptions,
        undeliverable,
    )
    for name, text in vars(module).items()
    if name.isupper()
    and not name.startswith("_")
    and isinstance(text, str)
    and text.lstrip().startswith(("select", "update", "delete", "insert"))
}


async def test_no_statement_scans_or_sorts(tmp_path: Path) -> None:
    async with open_service(tmp_path, MovedClock()):
        pass
    connection = sqlite3.connect(tmp_path / "queue.db")
    faults = []
    for name, text in STATEMENTS.items():
        if name == "messages.SCAN":
            text = text + messages.UNCLAIMED + messages.UNDELAYED
            text = text + messages.OF_OTHERS + messages.IN_ORDER
        if name in ("messages.DELETE_SOME", "messages.SIZES"):
            text = text.format("?, ?")
        numbers = [1] * text.count("?")
        plan = connection.execute(f"explain query plan {text}", numbers).fetchall()
        for step in (row[3] for row in plan):
            scans = step.startswith("SCAN")
            if name in ("sweep.FORSAKEN", "letters.WAYS"):
                scans = False  # takes the first of what is there
            if scans or "TEMP B-TREE" in step:
                faults.append((name, step))
    connection.close()
    assert faults == []


WAITING = "message_place (content_id=? AND available_ms=? AND claim_id=?)"
HIDDEN = "message_place (content_id=? AND available_ms<?)"
BY_KEY = "PRIMARY KEY (content_id=? AND sequence=?)"
EXPIRED = "message_expiry (expires_ms<?)"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("claims.TAKE", WAITING),
        ("claims.TAKE", BY_KEY),
        ("claims.EXHAUSTED", WAITING),
        ("parts.ANY_IN_STRAND", WAITING),
        ("claims.DELAY_HELD", WAITING),
        ("parts.TOUCH", BY_KEY),
        ("letters.COPY", BY_KEY),
        ("letters.FIRST_DEAD", "message_dead (content_id=?)"),
        ("letters.LEFT", "message_dead (content_id=?)"),
        ("keys.FORGET", "message_key_expiry (expires_ms<?)"),
        ("notices.TRIM_DIRECTED", "notice_directed (project_id=? AND queue_name=?)"),
        ("messages.POP", WAITING),
        ("rows.WAKE", HIDDEN),
        ("rows.WAKE", BY_KEY),
        ("claims.HELD", WAITING),
        ("claims.RENEW_HELD", WAITING),
        ("claims.RELEASE_HELD", WAITING),
        ("sweep.EXPIRED", EXPIRED),
        ("sweep.EXPIRED", BY_KEY),
        ("stats.EXPIRED", EXPIRED),
        ("stats.CLAIMED", "message_place (content_id=? AND available_ms>?)"),
    ],
)
async def test_rows_are_found_by_the_index_that_is_meant(
    tmp_path: Path, name: str, path: str
) -> None:
    async with open_service(tmp_path, MovedClock()):
        pass
    connection = sqlite3.connect(tmp_path / "queue.db")
    text = STATEMENTS[name]
    plan = connection.execute(f"explain query plan {text}", [1] * text.count("?")).fetchall()
    connection.close()
    assert any(path in row[3] for row in plan), plan
