"""What durable feeds promise on a file, on PostgreSQL."""

import pytest

from unit.node.test_feed import *  # noqa: F403

pytestmark = pytest.mark.usefixtures("postgres")
