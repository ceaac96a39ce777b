# SPDX-License-Identifier: Apache-2.0
"""The file of keys of one party, as the key server's commands write it and a process reads it.

    {"name": "scheduler.host1", "server": "http://127.0.0.1:8720/keys", "ca": "",
     "keys": ["<base64, newest first>"], "authorities": ["<base64>"],
     "identity": "<base64>", "certificate": "<base64>"}

With the suite shared-key `keys` are set, with public-key `identity` and `certificate`.
"""

import msgspec

from transom.errors import ConfigError
from transom.messaging.security.names import is_name
from transom.messaging.security.sealing import KEY_BYTES


class KeyFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`ca`: PEM of who vouches for the key server's TLS, "" for the machine's own list.

    `keys` are the party's long-term keys, newest first; `authorities` public keys that sign
    certificates; `identity` what `Identity.dump` gives.
    """

    name: str
    server: str = ""
    ca: str = ""
    keys: tuple[bytes, ...] = ()
    authorities: tuple[bytes, ...] = ()
    identity: bytes = b""
    certificate: bytes = b""

    def __repr__(self) -> str:
        """For logs: no key."""
        return f"KeyFile({self.name!r}, {self.server!r})"


def encode_key_file(file: KeyFile) -> bytes:
    """One object, for a file that only its owner may read."""
    return msgspec.json.format(msgspec.json.encode(file)) + b"\n"


def decode_key_file(text: bytes, where: str) -> KeyFile:
    """Raises: ConfigError, naming `where` it was read and what is wrong, but no key."""
    try:
        file = msgspec.json.decode(text, type=KeyFile)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: is no key file of a party: {error}") from None
    except (msgspec.MsgspecError, ValueError):
        raise ConfigError(f"{where}: is no JSON") from None
    if not is_name(file.name):
        raise ConfigError(f"{where}: `name` is no name of a party")
    if any(len(key) != KEY_BYTES for key in (*file.keys, *file.authorities)):
        raise ConfigError(f"{where}: a key has not {KEY_BYTES} bytes")
    return file
