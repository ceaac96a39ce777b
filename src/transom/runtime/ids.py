# SPDX-License-Identifier: Apache-2.0
"""Identifiers and randomness, as arguments.

`Randomness` gives n unguessable bytes: `os.urandom` in production, a seeded source in tests.
"""

import uuid
from collections.abc import Callable

Randomness = Callable[[int], bytes]


def new_hex(random: Randomness) -> str:
    """32 hexadecimal digits, 128 random bits."""
    return random(16).hex()


def new_uuid(random: Randomness) -> str:
    """A version 4 UUID as dashed text."""
    return str(uuid.UUID(bytes=random(16), version=4))


def new_request_id(random: Randomness) -> str:
    """`req-` and a UUID, the form that OpenStack's logs are searched by."""
    return "req-" + new_uuid(random)
