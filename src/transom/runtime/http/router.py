# SPDX-License-Identifier: Apache-2.0
"""From a path as sent to a route and its fields.

Invariants:
1. Paths are cut at `/` before percent-decoding: an encoded slash stays inside its field.
2. A literal wins over a field; a field never matches an empty segment; nothing is a regular
   expression.
3. One slash at the end of a path means nothing.
4. What is no UTF-8 once decoded, or no percent-encoding, is a BadRequest.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol
from urllib.parse import unquote_to_bytes

from transom.errors import BadRequest
from transom.runtime.http.cycle import Cycle, Outgoing
from transom.runtime.http.route import Mount

Responder = Callable[[Cycle], Awaitable[Outgoing | None]]
NotFoundFor = Callable[[Mount], Responder]
NotAllowedFor = Callable[[Mount, tuple[str, ...]], Responder]

_HEX = frozenset("0123456789abcdefABCDEF")


class Routed(Protocol):
    """What is read and set of a request: see `cycle.Cycle`."""

    raw_path: bytes
    fields: dict[str, str]
    url_path: str


class Methods(dict[str, Responder]):
    """Method -> responder; any other method has the responder `otherwise`."""

    def __init__(self, otherwise: Responder) -> None:
        super().__init__()
        self.otherwise = otherwise

    def __missing__(self, method: str) -> Responder:
        return self.otherwise


class _Leaf:
    """What serves one path template."""

    __slots__ = ("methods", "names", "prefix_length")

    def __init__(self, names: tuple[str, ...], prefix: str, methods: Methods) -> None:
        self.names = names
        self.prefix_length = len(prefix)
        self.methods = methods


class _Node:
    __slots__ = ("field", "leaf", "literals")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.field: _Node | None = None
        self.leaf: _Leaf | None = None


class Router:
    """All mounts of one port."""

    def __init__(self, mounts: Sequence[Mount], not_found: NotFoundFor) -> None:
        self._root = _Node()
        longest_first = sorted(mounts, key=lambda mount: -len(mount.prefix))
        self._absent = [(mount, Methods(not_found(mount))) for mount in longest_first]

    def add(
        self, mount: Mount, path: str, responders: Mapping[str, Responder], otherwise: Responder
    ) -> None:
        """Serves all methods of one template.

        Raises: ValueError for a template that is malformed or was added before.
        """
        template = mount.prefix + path
        node = self._root
        names: list[str] = []
        for segment in _segments(template):
            name = _field_name(segment)
            if name is None:
                node = node.literals.setdefault(segment, _Node())
            else:
                names.append(name)
                node.field = node.field or _Node()
                node = node.field
        if node.leaf is not None or len(set(names)) != len(names):
            raise ValueError(f"the template {template!r} clashes")
        methods = Methods(otherwise)
        methods.update(responders)
        node.leaf = _Leaf(tuple(names), mount.prefix, methods)

    def find(self, request: Routed) -> Methods:
        """What serves the path; sets `fields` and `url_path` of the request. Raises: BadRequest."""
        sent = request.raw_path.decode("ascii")
        found: list[str] = []
        leaf = _search(self._root, _segments(sent), 0, found)
        if leaf is None:
            return self._methods_of_absent(sent)
        if found:
            values = map(decoded, found) if "%" in sent else found
            request.fields = dict(zip(leaf.names, values, strict=True))
        request.url_path = sent[leaf.prefix_length :]
        return leaf.methods

    def mount_of(self, sent: str) -> Mount:
        """Whose form an answer to this path has: the mount with the longest prefix."""
        for mount, _ in self._absent:
            if sent == mount.prefix or sent.startswith(mount.prefix + "/"):
                return mount
        return self._absent[-1][0]

    def _methods_of_absent(self, sent: str) -> Methods:
        mount = self.mount_of(sent)
        return next(methods for owner, methods in self._absent if owner is mount)


def decoded(segment: str) -> str:
    """The segment, percent-decoded. Raises: BadRequest."""
    if "%" not in segment:
        return segment
    pieces = segment.split("%")
    if not all(len(piece) >= 2 and _HEX.issuperset(piece[:2]) for piece in pieces[1:]):
        raise BadRequest("The path has a '%' that two hexadecimal digits do not follow.")
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise BadRequest("The path, once decoded, is not UTF-8.") from None


def _segments(path: str) -> list[str]:
    segments = path.split("/")
    if len(segments) > 1 and not segments[-1]:
        segments.pop()
    return segments


def _field_name(segment: str) -> str | None:
    if "{" not in segment and "}" not in segment:
        return None
    name = segment[1:-1]
    if segment[0] != "{" or segment[-1] != "}" or not name.isidentifier():
        raise ValueError(f"{segment!r} is neither a literal nor one field in braces")
    return name


def _search(node: _Node, segments: list[str], at: int, found: list[str]) -> _Leaf | None:
    """Depth first, literals before fields. `found` holds the fields' segments, in order."""
    for index in range(at, len(segments)):
        segment = segments[index]
        literal = node.literals.get(segment)
        field = node.field
        if field is None or not segment:
            if literal is None:
                return None
            node = literal
            continue
        if literal is not None:
            mark = len(found)
            leaf = _search(literal, segments, index + 1, found)
            if leaf is not None:
                return leaf
            del found[mark:]
        found.append(segment)
        node = field
    return node.leaf
