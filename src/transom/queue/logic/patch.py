# SPDX-License-Identifier: Apache-2.0
"""Changes of a queue's metadata, by Zaqar's dialect of JSON patch.

Invariants:
1. A path is `/metadata/KEY`, with `~1` for a slash and `~0` for a tilde in KEY.
2. All changes are made, in order, or none.
3. Reserved attributes always exist: replacing one sets it, removing one resets it.

Source: Zaqar API v2, "Update queue"; RFC 6901 for the escapes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from transom.errors import BadRequest
from transom.queue.logic.attributes import RESERVED, Metadata
from transom.queue.model import Change, KeyMissing

_ROOT = "metadata"


def patched(metadata: Mapping[str, Any], changes: Sequence[Change]) -> Metadata:
    """The metadata after the changes.

    Raises: BadRequest for a change that makes no sense, KeyMissing for one of an absent key.
    """
    result = dict(metadata)
    for change in changes:
        key = _key(change.path)
        match change.op:
            case "add" | "replace":
                if not change.has_value:
                    raise BadRequest(f"The operation {change.op!r} needs a value.")
                if change.op == "replace":
                    _require(result, key)
                result[key] = change.value
            case "remove":
                _require(result, key)
                result.pop(key, None)
            case _:
                raise BadRequest(
                    f"No operation is called {change.op!r}; there are add, remove and replace."
                )
    return result


def _require(metadata: Mapping[str, Any], key: str) -> None:
    if key not in metadata and key not in RESERVED:
        raise KeyMissing(f"The metadata have no key {key!r}.")


def _key(path: str) -> str:
    parts = path.split("/")
    if len(parts) != 3 or parts[0] or parts[1].lower() != _ROOT or not parts[2]:
        raise BadRequest(f"The path {path!r} is not of the form /metadata/KEY.")
    key = parts[2]
    if "~" in key.replace("~0", "").replace("~1", ""):
        raise BadRequest(f"The path {path!r} has a tilde that is neither ~0 nor ~1.")
    return key.replace("~1", "/").replace("~0", "~")
