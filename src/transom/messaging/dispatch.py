# SPDX-License-Identifier: Apache-2.0
"""From a request to a method: by namespace, version and name.

An endpoint is any object; its attribute `target` (a Target) says which namespace and version it
serves, without one it is no namespace and version "1.0". The first endpoint in order that serves
the request's namespace and version and has the method takes it.

| among the endpoints | answer |
|---|---|
| none serves the namespace and version | UnsupportedVersion |
| some do, none has the method | NoSuchMethod |

Invariants:
1. Only public methods are served: no leading underscore, a method of the class (not a nested class,
   not an attribute). The table is made once; names from the wire only look into it.
2. Every server answers the base interface: namespace "transom", version "1.0", methods `ping`,
   `version`, `endpoints`.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any, TypeVar

import transom
from transom.errors import NoSuchMethod, UnsupportedVersion
from transom.messaging.target import Target
from transom.messaging.version import Version, compatible, parse_version

BASE_NAMESPACE = "transom"
DEFAULT_VERSION = "1.0"
METHODS = (FunctionType, staticmethod, classmethod)
F = TypeVar("F", bound=Callable[..., Any])


def expected_exceptions(*kinds: type[BaseException]) -> Callable[[F], F]:
    """Marks an endpoint's method: these exceptions are answers, not faults; they are not logged."""

    def mark(method: F) -> F:
        method.__dict__["transom_expected"] = kinds
        return method

    return mark


@dataclass(frozen=True, slots=True)
class Method:
    """What a request leads to. `expected`: what it may raise without being logged."""

    function: Callable[..., Any]
    is_async: bool
    expected: tuple[type[BaseException], ...]


@dataclass(frozen=True, slots=True)
class _Served:
    namespace: str | None
    version: Version
    version_text: str
    methods: Mapping[str, Method]


class Dispatcher:
    """The table of a server's endpoints."""

    def __init__(self, endpoints: Sequence[object], *, server: str = "") -> None:
        """Raises: TypeError if an endpoint's `target` is no Target; ValueError for its version."""
        self._served = [_served(endpoint) for endpoint in endpoints]
        self._served.append(_served(BaseInterface(server, self.endpoints)))

    def find(self, namespace: str | None, version: str | None, method: str) -> Method:
        """Raises: UnsupportedVersion, NoSuchMethod."""
        try:
            asked = parse_version(version or DEFAULT_VERSION)
        except ValueError as error:
            raise UnsupportedVersion(str(error)) from error
        fitting = False
        for served in self._served:
            if served.namespace == namespace and compatible(served.version, asked):
                fitting = True
                found = served.methods.get(method)
                if found is not None:
                    return found
        where = f"namespace {namespace!r}" if namespace else "no namespace"
        if fitting:
            raise NoSuchMethod(f"no method {method[:80]!r} in {where[:120]}")
        asked_text = version or DEFAULT_VERSION
        raise UnsupportedVersion(f"version {asked_text} of {where[:120]} is not served here")

    def endpoints(self) -> list[dict[str, Any]]:
        """What is served, in the order of dispatch."""
        return [
            {
                "namespace": served.namespace,
                "version": served.version_text,
                "methods": sorted(served.methods),
            }
            for served in self._served
        ]


class BaseInterface:
    """What every server answers, whatever else it serves."""

    target = Target(namespace=BASE_NAMESPACE, version="1.0")

    def __init__(self, server: str, served: Callable[[], list[dict[str, Any]]]) -> None:
        self._server = server
        self._list = served

    async def ping(self, context: Mapping[str, Any]) -> dict[str, str]:
        """Who answers."""
        return {"server": self._server}

    async def version(self, context: Mapping[str, Any]) -> dict[str, str]:
        """Of this software and of the base interface."""
        return {"transom": transom.__version__, "base": "1.0"}

    async def endpoints(self, context: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Namespaces, versions and methods served."""
        return self._list()


def _served(endpoint: object) -> _Served:
    target = getattr(endpoint, "target", None) or Target()
    if not isinstance(target, Target):
        raise TypeError(f"the `target` of {type(endpoint).__name__} is no Target")
    version = target.version or DEFAULT_VERSION
    methods = {}
    for name, function in inspect.getmembers_static(type(endpoint)):
        if name.startswith("_") or not isinstance(function, METHODS):
            continue
        bound = getattr(endpoint, name)
        methods[name] = Method(
            function=bound,
            is_async=inspect.iscoroutinefunction(bound),
            expected=getattr(bound, "transom_expected", ()),
        )
    return _Served(target.namespace, parse_version(version), version, methods)
