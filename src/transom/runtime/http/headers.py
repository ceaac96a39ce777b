# SPDX-License-Identifier: Apache-2.0
"""A request's headers as a handler may see them.

Invariant: no header that claims an identity, in any spelling that some server would fold into
one, can be read through `Headers`.
"""

from collections.abc import Iterator, Mapping, Sequence

RawHeaders = Sequence[tuple[bytes, bytes]]

_CLAIMS = (
    *("user-id", "user-name", "user-domain-id", "user-domain-name"),
    *("project-id", "project-name", "project-domain-id", "project-domain-name"),
    *("domain-id", "domain-name", "tenant-id", "tenant-name"),
    *("roles", "is-admin-project", "identity-status"),
)
IDENTITY_HEADERS = frozenset(
    [
        *(f"x-{claim}" for claim in _CLAIMS),
        *(f"x-service-{claim}" for claim in _CLAIMS),
        "x-user",
        "x-tenant",
        "x-role",
        "x-service-catalog",
        "x-system-scope",
        "openstack-system-scope",
        "openstack-identity-access-rules",
    ]
)
"""What keystonemiddleware sets for the application behind it (and older releases of it did)."""


class Headers(Mapping[str, str]):
    """Lower-case name -> value; a header sent twice has its values joined by commas."""

    __slots__ = ("_decoded", "_raw")

    def __init__(self, raw: RawHeaders) -> None:
        self._raw = raw
        self._decoded: dict[str, str] | None = None

    def __getitem__(self, name: str) -> str:
        """Handlers ask for one or two, so those alone are decoded."""
        if self._decoded is None:
            wanted = name.encode("latin-1", "replace")
            values = [value for sent, value in self._raw if sent == wanted]
            if not values or name.replace("_", "-") in IDENTITY_HEADERS:
                raise KeyError(name)
            return b",".join(values).decode("latin-1")
        return self._decoded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> dict[str, str]:
        if self._decoded is None:
            decoded: dict[str, str] = {}
            for raw_name, raw_value in self._raw:
                name = raw_name.decode("latin-1")
                if name.replace("_", "-") not in IDENTITY_HEADERS:
                    value = raw_value.decode("latin-1")
                    decoded[name] = f"{decoded[name]},{value}" if name in decoded else value
            self._decoded = decoded
        return self._decoded


def accepts(header: bytes | None, media_types: Sequence[str]) -> bool:
    """True if an Accept header admits one of the media types. Source: RFC 9110, 12.5.1."""
    if header is None:
        return True
    admitted: dict[str, float] = {}
    for part in header.decode("latin-1").lower().split(","):
        media_range, *parameters = (piece.strip() for piece in part.split(";"))
        admitted[media_range] = _weight(parameters)
    for media_type in media_types:
        essence = media_type.partition(";")[0]
        for media_range in (essence, essence.partition("/")[0] + "/*", "*/*"):
            if media_range in admitted:
                if admitted[media_range] > 0:
                    return True
                break
    return not any(admitted)


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 1.0
    return 1.0
