# SPDX-License-Identifier: Apache-2.0
"""The stage is a driver like any other: the public suite over it, both suites, both modes."""

import pytest

from transom.messaging.drivers.memory import MemoryDriver
from transom.messaging.secured import SecuredDriver
from transom.messaging.testing import CHECKS, check_driver
from transom.messaging.url import TransportURL

from support.secured_world import KeyWorld
from virtual import VirtualClock, run_virtual, seeded_randomness

ANSWERS_WITHOUT_A_REQUEST = {"a_reply_reaches_who_asked", "mandatory_to_nobody_fails_at_once"}
"""What is required to be secured has no key for a reply to somebody who never asked."""
SERVER_OF = {
    "a_server_on_a_new_driver_is_found": "all.h1",
    "mandatory_to_nobody_fails_at_once": "all.h",
}
"""All drivers of a check are one party; it has to be the server that the check addresses."""


CASES = [
    (name, required)
    for name in CHECKS
    for required in (True, False)
    if not (required and name in ANSWERS_WITHOUT_A_REQUEST)
]


@pytest.mark.parametrize("mode", ["sign", "encrypt"])
@pytest.mark.parametrize("suite", ["shared-key", "public-key"])
@pytest.mark.parametrize(("name", "required"), CASES)
def test_the_stage_over_memory_conforms(name: str, suite: str, mode: str, required: bool) -> None:
    async def main() -> None:
        clock, random = VirtualClock(), seeded_randomness(1)
        name_of_all = SERVER_OF.get(name, "all.h2")
        world = KeyWorld(clock, random, everyone=name_of_all)
        party = world.register(name_of_all, "*")
        url = TransportURL.parse("memory://bus")

        def make_driver() -> SecuredDriver:
            security = world.security(party, suite, mode=mode, required=required)
            inner = MemoryDriver(url, clock=clock, random=random)
            return SecuredDriver(inner, security, clock=clock, random=random)

        await check_driver(make_driver, [name])

    run_virtual(main, seed=3)
