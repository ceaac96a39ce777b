# SPDX-License-Identifier: Apache-2.0
import random
import uuid

from transom.runtime.http.request_ids import request_ids


def test_ids_are_uuids_and_never_repeat():
    draws = []
    source = random.Random(7)

    def drawn(size: int) -> bytes:
        draws.append(size)
        return source.randbytes(size)

    new = request_ids(drawn)
    assert draws == []  # nothing is drawn before a fork
    ids = [new() for _ in range(70_000)]
    assert len(set(ids)) == len(ids)
    assert len(draws) == 2
    for sample in ids[::10_000]:
        assert sample.startswith("req-")
        assert uuid.UUID(sample[4:]).version == 4
