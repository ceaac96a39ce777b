# SPDX-License-Identifier: Apache-2.0
"""Pre-signed URLs on the wire."""

from typing import Annotated

from msgspec import Meta, Struct

from transom.queue.logic.signing import METHODS, SHARED

Path = Annotated[str, Meta(extra_json_schema={"enum": list(SHARED)})]
Method = Annotated[str, Meta(extra_json_schema={"enum": sorted(METHODS)})]


class ShareQueue(Struct, forbid_unknown_fields=True):
    """What absent, empty or null says is: GET on the messages, for a day. `expires`: ISO 8601."""

    paths: list[Path] | None = None
    methods: list[Method] | None = None
    expires: str | None = None


class SignedUrl(Struct):
    """What the headers URL-Paths and URL-Methods (joined by commas), X-Project-ID, URL-Expires and
    URL-Signature of a request bring."""

    paths: list[str]
    methods: list[str]
    project: str
    expires: str
    signature: str
