# SPDX-License-Identifier: Apache-2.0
"""Message security as a stage: a driver around a driver.

    security = Security.from_file("api.host1.key", mode="sign")
    async with messaging.connect("rabbit://...", security=security) as transport: ...

`settings` says what a party is told, `driver` is the stage, `outgoing` and `incoming` its halves;
`key_server` and `folder` are where keys and certificates come from. What is decided is decided in
`transom.messaging.security`, without I/O.
"""

from transom.messaging.secured.driver import SecuredDriver
from transom.messaging.secured.settings import KeySource, Security

__all__ = ["KeySource", "SecuredDriver", "Security"]
