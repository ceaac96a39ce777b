"""From a request to a method, as tables."""

import pytest

from transom.errors import NoSuchMethod, UnsupportedVersion
from transom.messaging.dispatch import Dispatcher, expected_exceptions
from transom.messaging.target import Target
from transom.messaging.version import compatible, parse_version


@pytest.mark.parametrize(
    ("served", "asked", "fits"),
    [
        ("1.0", "1.0", True),
        ("1.3", "1.0", True),
        ("1.3", "1.3", True),
        ("1.3", "1.4", False),
        ("2.0", "1.0", False),
        ("1.0", "2.0", False),
        ("1.10", "1.9", True),
        ("1.3.1", "1.3", True),
        ("1.3", "1.3.1", False),
        ("1.3.2", "1.3.1", True),
        ("1.3.2", "1.3.3", False),
        ("1.4", "1.3.9", True),
        ("1.4.0", "1.3.9", True),
    ],
)
def test_versions_fit_by_major_minor_and_revision(served, asked, fits) -> None:
    assert compatible(parse_version(served), parse_version(asked)) is fits


@pytest.mark.parametrize("text", ["", "1", "1.", "1.x", "1.2.3.4", " 1.0", "1.0\n", "-1.0", "１.0"])
def test_what_is_no_version_is_refused(text) -> None:
    with pytest.raises(ValueError, match="is no version"):
        parse_version(text)


class Plain:
    attribute = "no method"

    class Nested:
        pass

    def one(self, context):
        return "plain"

    @staticmethod
    def still(context):
        return "static"

    @classmethod
    def of_class(cls, context):
        return cls.__name__

    def _hidden(self, context):
        raise AssertionError

    @property
    def value(self):
        raise AssertionError("a property is not a method, and is not read")


class Spaced:
    target = Target(namespace="ns", version="1.5.2")

    async def one(self, context):
        return "spaced"

    @expected_exceptions(KeyError)
    async def missing(self, context):
        raise KeyError


class NewMajor(Spaced):
    target = Target(namespace="ns", version="2.1")

    def two(self, context):
        return "two"


DISPATCHER = Dispatcher([Plain(), Spaced(), NewMajor()], server="h")


@pytest.mark.parametrize(
    ("namespace", "version", "method", "endpoint"),
    [
        (None, None, "one", Plain),
        (None, "1.0", "one", Plain),
        ("ns", None, "one", Spaced),
        ("ns", "1.5", "one", Spaced),
        ("ns", "1.5.2", "one", Spaced),
        ("ns", "2.0", "one", NewMajor),
        ("ns", "2.1", "two", NewMajor),
    ],
)
def test_request_finds_its_endpoint(namespace, version, method, endpoint) -> None:
    found = DISPATCHER.find(namespace, version, method)
    assert type(found.function.__self__) is endpoint
    assert found.is_async is (method == "one" and endpoint is not Plain)


@pytest.mark.parametrize(
    ("namespace", "version", "method", "error"),
    [
        (None, "1.1", "one", UnsupportedVersion),
        (None, "2.0", "one", UnsupportedVersion),
        ("", "1.0", "one", UnsupportedVersion),
        ("other", None, "one", UnsupportedVersion),
        ("ns", "1.5.3", "one", UnsupportedVersion),
        ("ns", "2.2", "one", UnsupportedVersion),
        ("ns", "x", "one", UnsupportedVersion),
        ("ns", "1.0" * 10_000, "one", UnsupportedVersion),
        ("ns", "1.5", "two", NoSuchMethod),
        (None, None, "none", NoSuchMethod),
        (None, None, "_hidden", NoSuchMethod),
        (None, None, "__init__", NoSuchMethod),
        (None, None, "__class__", NoSuchMethod),
        (None, None, "attribute", NoSuchMethod),
        (None, None, "Nested", NoSuchMethod),
        (None, None, "value", NoSuchMethod),
        (None, None, "target", NoSuchMethod),
        (None, None, "x" * 100_000, NoSuchMethod),
    ],
)
def test_request_without_a_method_is_refused(namespace, version, method, error) -> None:
    with pytest.raises(error) as caught:
        DISPATCHER.find(namespace, version, method)
    assert len(str(caught.value)) < 400


def test_static_and_class_methods_are_served() -> None:
    assert DISPATCHER.find(None, None, "still").function({}) == "static"
    assert DISPATCHER.find(None, None, "of_class").function({}) == "Plain"


def test_expected_exceptions_are_known() -> None:
    assert DISPATCHER.find("ns", None, "missing").expected == (KeyError,)
    assert DISPATCHER.find("ns", None, "one").expected == ()


def test_what_is_served_is_listed() -> None:
    assert DISPATCHER.endpoints() == [
        {"namespace": None, "version": "1.0", "methods": ["of_class", "one", "still"]},
        {"namespace": "ns", "version": "1.5.2", "methods": ["missing", "one"]},
        {"namespace": "ns", "version": "2.1", "methods": ["missing", "one", "two"]},
        {"namespace": "transom", "version": "1.0", "methods": ["endpoints", "ping", "version"]},
    ]


def test_endpoint_whose_target_is_none_is_refused() -> None:
    class Wrong:
        target = "topic"

    with pytest.raises(TypeError, match="is no Target"):
        Dispatcher([Wrong()])
