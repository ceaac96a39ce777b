"""What importing costs, measured in processes of their own."""

import subprocess
import sys

import pytest

from transom import messaging
from transom.errors import InvalidTransportURL
from transom.messaging.drivers import BUILT_IN, driver_class


def loaded(statement: str) -> set[str]:
    """The modules that `statement` loads beyond what the interpreter has loaded at its start."""
    code = (
        f"import sys; before = set(sys.modules)\n{statement}\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


ALL = [name for name in messaging.__all__ if name != "blocking"]
CORE = [name for name in ALL if not name.startswith(("Table", "Event"))]


def test_import_alone_loads_next_to_nothing() -> None:
    assert len(loaded("import transom.messaging")) <= 40


def test_public_names_load_at_most_160_modules_and_no_driver() -> None:
    names = ", ".join(CORE)
    found = loaded(f"from transom.messaging import {names}")
    assert len(found) <= 160, sorted(found)
    assert not [name for name in found if name.startswith("transom.messaging.drivers.zmq")]
    assert not found & {"zmq", "sqlite3", "aiohttp", "falcon", "transom.messaging.drivers.memory"}


def test_live_tables_add_only_modules_of_their_own() -> None:
    core = loaded(f"from transom.messaging import {', '.join(CORE)}")
    added = loaded(f"from transom.messaging import {', '.join(ALL)}") - core
    foreign = [name for name in added if not name.startswith("transom.messaging.")]
    assert set(foreign) <= sys.stdlib_module_names
    assert len(foreign) <= 6, foreign
    assert len(added) <= 30, sorted(added)


def test_pure_machines_load_no_asyncio() -> None:
    found = loaded(
        "import transom.messaging.proto.call, transom.messaging.proto.delivery, "
        "transom.messaging.envelope, transom.messaging.dispatch"
    )
    assert not found & {"asyncio", "socket", "logging", "subprocess"}


@pytest.mark.parametrize("name", messaging.__all__)
def test_public_name_is_there(name) -> None:
    assert getattr(messaging, name) is not None
    assert name in dir(messaging)


def test_no_other_name_is_there() -> None:
    with pytest.raises(AttributeError, match="nothing_such"):
        _ = messaging.nothing_such


def test_built_in_drivers_can_be_loaded() -> None:
    for scheme in BUILT_IN:
        assert callable(driver_class(scheme))


def test_unknown_driver_is_told_with_those_that_are_known() -> None:
    with pytest.raises(InvalidTransportURL, match=r"memory://.*zmq://"):
        messaging.connect("carrier+pigeon://coop")
