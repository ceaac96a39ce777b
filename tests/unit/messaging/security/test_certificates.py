# SPDX-License-Identifier: Apache-2.0
"""A certificate counts only as a trusted authority signed it, and in its time."""

import pytest
from msgspec.structs import replace

from transom.errors import InvalidCertificate
from transom.messaging.security.certificates import (
    CERTIFICATE_BYTES_MAX,
    Certificate,
    Identity,
    check,
    issue,
)
from transom.messaging.security.sealing import new_signing_key

from support.security_parts import HOUR_MS, NOW_MS, Parts
from virtual import seeded_randomness

PARTS = Parts()


def test_an_identity_comes_back_from_its_bytes() -> None:
    identity = Identity.make(seeded_randomness(3))
    again = Identity.load(identity.dump())
    assert again.signing_key == identity.signing_key
    assert again.agreement_key == identity.agreement_key
    with pytest.raises(InvalidCertificate):
        Identity.load(identity.dump()[:-1])


def test_a_certificate_says_whose_keys_and_which_groups() -> None:
    PARTS.certificates["work.h1"] = PARTS.certify("work.h1", "feed.*")
    found = PARTS.certificate("work.h1")
    assert found.signing_key == PARTS.identities["work.h1"].signing_key
    assert found.belongs_to("work")
    assert found.belongs_to("feed.images")
    assert found.serves("feed.images", "h1")
    assert not found.belongs_to("api")


def test_every_altered_byte_of_a_certificate_is_refused() -> None:
    data = PARTS.certificates["api.a"]
    for at in range(len(data)):
        altered = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(InvalidCertificate):
            check(altered, PARTS.authorities, now_ms=NOW_MS)
    for bad in (b"", data[:-1], data + b"\0", bytes(CERTIFICATE_BYTES_MAX + 1)):
        with pytest.raises(InvalidCertificate):
            check(bad, PARTS.authorities, now_ms=NOW_MS)


def test_a_certificate_of_another_authority_or_time_is_refused() -> None:
    data = PARTS.certificates["api.a"]
    other = new_signing_key(PARTS.random).public_key().public_bytes_raw()
    with pytest.raises(InvalidCertificate, match="not trusted"):
        check(data, {other}, now_ms=NOW_MS)
    for now_ms in (NOW_MS - 2 * HOUR_MS, NOW_MS + 25 * HOUR_MS):
        with pytest.raises(InvalidCertificate, match="does not hold now"):
            check(data, PARTS.authorities, now_ms=now_ms)
    assert check(data, PARTS.authorities, now_ms=NOW_MS - 2 * HOUR_MS, skew_ms=HOUR_MS)


@pytest.mark.parametrize(
    "wrong",
    [{"name": ""}, {"name": "a*"}, {"groups": ("a b",)}, {"signing_key": b""},
     {"agreement_key": bytes(31)}],
    ids=str,
)  # fmt: skip
def test_what_makes_no_certificate_is_not_issued(wrong: dict) -> None:
    good = Certificate("a.b", (), bytes(32), bytes(32), 0, 1)
    with pytest.raises(InvalidCertificate):
        issue(replace(good, **wrong), PARTS.authority)
