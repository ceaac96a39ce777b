# SPDX-License-Identifier: Apache-2.0
"""The checksum of a message's body, as Zaqar shows it: of the body as its server would write it.

It is MD5 over JSON with a blank after each comma and colon and with everything beyond ASCII
escaped, however the body was sent. So who wants to check it decodes the body and writes it so. It
finds accidents, not intent.

Source: Zaqar, `[DEFAULT] enable_checksum`.
"""

import hashlib
import json

ALGORITHM = "MD5"


def checksum_of(body: bytes) -> str | None:
    """`MD5:` and the digits; None for the body null, which has none. `body`: JSON.

    None also for one with a number so long that it would not be read again.
    """
    try:
        value = json.loads(body)
    except ValueError:
        return None
    if value is None:
        return None
    written = json.dumps(value).encode()
    return f"{ALGORITHM}:{hashlib.md5(written, usedforsecurity=False).hexdigest()}"
