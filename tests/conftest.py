"""Fixtures that tests of every kind may ask for, and what holds for every run."""

import signal
from collections.abc import Generator

import pytest

from support.postgres import engine, postgres, server
from support.rabbit import rabbit

__all__ = ["engine", "postgres", "rabbit", "server"]


def pytest_configure() -> None:
    """What a shell starts in the background ignores Ctrl-C, and so would all that tests start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Upgrades first: at the end, nothing would be left to run beside the longest file."""
    items.sort(key=lambda item: "upgrade" not in item.path.parts)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What tests log may hold halves of characters, which no pipe to another process carries."""
    report = yield
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report
