"""One text for two databases: what is translated, and what is not."""

import pytest

from transom.errors import ConfigError
from transom.runtime.db.address import check_address, has_password, shown, without_password
from transom.runtime.db.dialect import for_postgres, migration_for_postgres, sql


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("select ?", "select $1"),
        ("select ?, '?', ?", "select $1, '?', $2"),
        ("select 'it''s ?', \"a?\", ? -- ?\n, ?", "select 'it''s ?', \"a?\", $1 -- ?\n, $2"),
        ("/* ? */ values (?)", "/* ? */ values ($1)"),
        ("select 1", "select 1"),
    ],
)
def test_placeholders_are_numbered_outside_of_literals(text: str, wanted: str) -> None:
    assert for_postgres(text) == wanted


def test_a_replacement_stands_for_its_statement_and_for_no_other_of_the_same_text() -> None:
    replaced = sql("select ?", postgres="select ?::bigint")
    assert replaced == "select ?"
    assert for_postgres(replaced) == "select $1::bigint"
    assert for_postgres("select ?") == "select $1"


def test_a_migrations_types_are_translated_and_nothing_else() -> None:
    script = """
-- an integer in a text
create table message (
  name text not null default 'text blob',
  size INTEGER not null,
  body blob,
  integers integer
) without rowid;
"""
    assert (
        migration_for_postgres(script)
        == """
-- an integer in a text
create table message (
  name text collate "C" not null default 'text blob',
  size bigint not null,
  body bytea,
  integers bigint
);
"""
    )


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:hidden@h/x",
        "postgresql://u:hidden@h",
        "postgresql://u:hidden@h:port/x",
        "postgresql://u:hidden@h/x\ny",
        "hidden",
        "",
    ],
)
def test_an_address_that_cannot_be_used_is_told_without_itself(url: str) -> None:
    with pytest.raises(ConfigError, match="postgresql://user@host:port/database") as caught:
        check_address(url)
    assert "hidden" not in caught.value.text


@pytest.mark.parametrize(
    ("url", "name", "bare"),
    [
        ("postgresql://u:p%40@h:1/d", "h:1/d", "postgresql://u@h:1/d"),
        ("postgres://h/d?sslmode=require", "h/d", "postgres://h/d?sslmode=require"),
        ("postgresql:///d?host=/run&password=p", "/run/d", "postgresql:///d?host=%2Frun"),
        ("postgresql://u:p@h1:1,h2:2/d", "h1:1,h2:2/d", "postgresql://u@h1:1,h2:2/d"),
    ],
)
def test_an_address_is_shown_and_kept_without_its_password(url: str, name: str, bare: str) -> None:
    check_address(url)
    assert shown(url) == name
    assert without_password(url) == bare
    assert has_password(url) == (url != bare and "sslmode" not in url)
    assert not has_password(bare)
