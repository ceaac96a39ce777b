"""Each table that a migration makes is listed with what ends its rows."""

import re

from support.stack import ROOT

PAGE = ROOT / "docs" / "explanation" / "what-grows.md"
BELONGING_TO_USERS = frozenset(
    ["users", "projects", "roles", "grants", "domains", "application_credentials"]
)


def test_every_table_is_listed_with_what_ends_it() -> None:
    made = {
        name
        for path in (ROOT / "src").rglob("migrations/*.sql")
        for name in re.findall(r"create table (?:if not exists )?(\w+)", path.read_text())
    }
    named = {
        name
        for line in PAGE.read_text().splitlines()
        if line.count("|") == 4
        for name in re.findall(r"`(\w+)`", line.split("|")[2])
    }
    assert made - BELONGING_TO_USERS - named == set()
    assert named <= made, "the page names tables that there are not"
    assert len(made) > 10
