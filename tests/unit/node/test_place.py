"""A holder's place: the same in one family, another for each folder."""

from pathlib import Path

from transom.node.node import Node
from transom.node.place import place_of

from virtual import VirtualClock


def test_a_place_is_the_folders_on_this_host(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    assert place_of(one) == place_of(one)
    assert place_of(one) != place_of(two)


def test_a_holder_is_a_name_at_a_place(tmp_path: Path) -> None:
    from transom.messaging import connect

    transport = connect("memory://place/x", clock=VirtualClock())
    assert Node("api", transport).holder == "api"
    assert Node("api", transport, "here").holder == "api@here"
