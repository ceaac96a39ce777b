# SPDX-License-Identifier: Apache-2.0
"""Settings that cannot be used are refused before anything is sent."""

from typing import Any

import pytest

from transom.errors import ConfigError
from transom.messaging import connect
from transom.messaging.secured import SecuredDriver, Security
from transom.messaging.secured.folder import CertificateFolder
from transom.messaging.security.certificates import Identity

from virtual import seeded_randomness

GOOD = {"shared-key": {"long_term_keys": (bytes(32),)}}


def security(tmp_path: Any, **given: Any) -> Security:
    return Security(given.pop("name", "api.a"), CertificateFolder(tmp_path), **given)


@pytest.mark.parametrize(
    "wrong",
    [{"mode": "seal"}, {"suite": "other"}, {"name": "no name"}, {},
     {"long_term_keys": (bytes(31),)}, {"suite": "public-key"},
     {"suite": "public-key", "identity": Identity.make(seeded_randomness(1)), "certificate": b"c"},
     {"long_term_keys": (bytes(32),), "authorities": (b"",)}],
    ids=lambda wrong: ",".join(wrong),
)  # fmt: skip
def test_settings_that_cannot_be_used_are_refused(tmp_path: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        connect("memory://x", security=security(tmp_path, **wrong))


def test_without_a_mode_nothing_is_done(tmp_path: Any) -> None:
    plain = connect("memory://x", security=security(tmp_path, mode="none"))
    assert not isinstance(plain.driver, SecuredDriver)


def test_settings_do_not_print_keys(tmp_path: Any) -> None:
    key = bytes(range(32))
    assert repr(key) not in repr(security(tmp_path, long_term_keys=(key,)))
