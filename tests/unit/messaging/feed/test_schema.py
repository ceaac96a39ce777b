"""Tables: their contract, rows against it, who sees what."""

import pytest

from transom.messaging.schema import Audience, Column, ColumnKind, RowRefused, Table

COLUMNS = (
    Column("project_id", ColumnKind.TEXT, "Whose it is."),
    Column("name", ColumnKind.TEXT, "Its name there."),
    Column("size", ColumnKind.INTEGER, "Its size."),
    Column("load", ColumnKind.NUMBER, "How much is used."),
    Column("on", ColumnKind.BOOLEAN, "Whether it is on."),
    Column("made", ColumnKind.TIME_MS, "When it was made."),
    Column("extra", ColumnKind.JSON, "Anything."),
)
GOOD = {"project_id": "p", "name": "n", "size": 1, "load": 0.5, "on": True, "made": 5, "extra": {}}


def table(audience: Audience = Audience.PROJECT) -> Table:
    return Table("part:things", COLUMNS, ("project_id", "name"), "project_id", audience, 1)


def test_a_row_that_fits_passes_and_has_a_key() -> None:
    table().check(GOOD)
    assert table().key_of(GOOD) == ("p", "n")


def test_columns_of_a_newer_version_and_missing_ones_are_let_through() -> None:
    table().check({"project_id": "p", "name": "n", "new": object()})


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("size", "1"),
        ("size", True),
        ("size", 1.0),
        ("load", "0.5"),
        ("load", float("nan")),
        ("on", 1),
        ("made", True),
        ("name", ""),
        ("name", None),
        ("project_id", 7),
        ("extra", b"bytes"),
        ("extra", float("inf")),
    ],
)
def test_a_value_of_another_kind_is_refused_by_name(column: str, value: object) -> None:
    with pytest.raises(RowRefused) as caught:
        table().check({**GOOD, column: value})
    assert column in caught.value.detail


@pytest.mark.parametrize(
    ("audience", "project_id", "admin", "seen"),
    [
        (Audience.PUBLIC, "", False, True),
        (Audience.PUBLIC, "other", False, True),
        (Audience.PROJECT, "p", False, True),
        (Audience.PROJECT, "other", False, False),
        (Audience.PROJECT, "", False, False),
        (Audience.PROJECT, "other", True, True),
        (Audience.ADMIN, "p", False, False),
        (Audience.ADMIN, "", True, True),
    ],
)
def test_who_sees_a_row(audience: Audience, project_id: str, admin: bool, seen: bool) -> None:
    assert table(audience).visible(GOOD, project_id=project_id, admin=admin) is seen


def test_a_row_without_an_owner_is_seen_by_no_project() -> None:
    assert not table().visible({**GOOD, "project_id": ""}, project_id="", admin=False)


@pytest.mark.parametrize(
    ("columns", "key", "owner"),
    [
        ((*COLUMNS, COLUMNS[0]), ("name",), None),
        (COLUMNS, (), "project_id"),
        (COLUMNS, ("size",), "project_id"),
        (COLUMNS, ("unknown",), "project_id"),
        (COLUMNS, ("name",), "unknown"),
        (COLUMNS, ("name",), None),
    ],
)
def test_a_contract_that_contradicts_itself_is_refused(
    columns: tuple[Column, ...], key: tuple[str, ...], owner: str | None
) -> None:
    with pytest.raises(ValueError, match="part:things"):
        Table("part:things", columns, key, owner, Audience.PROJECT, 1)
