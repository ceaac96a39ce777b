# SPDX-License-Identifier: Apache-2.0
"""Every error has one look from outside."""

import pytest

from transom import errors


def tree(root: type[errors.TransomError]) -> list[type[errors.TransomError]]:
    return [root, *(found for below in root.__subclasses__() for found in tree(below))]


@pytest.mark.parametrize("error", tree(errors.TransomError), ids=lambda e: e.__name__)
def test_every_error_is_in_the_catalogue_by_itself_or_an_ancestor(
    error: type[errors.TransomError],
) -> None:
    entry = errors.catalogued(error)
    assert 400 <= entry.status < 600
    assert entry.text.endswith(".")


def test_the_docstring_draws_every_error() -> None:
    assert errors.__doc__
    for error in tree(errors.TransomError):
        if error.__module__ == errors.__name__:
            assert error.__name__ in errors.__doc__


def test_who_erred_agrees_with_the_status() -> None:
    for error, entry in errors.CATALOGUE.items():
        assert (entry.status < 500) == issubclass(error, errors.CallerError)


def test_a_remote_error_keeps_its_parts() -> None:
    error = errors.RemoteError("ValueError", "no", ("line",))
    assert (error.text, error.detail) == ("ValueError: no", "line")
    assert errors.NotFound().text == "No such resource."
    assert errors.NotFound("no queue q").text == "no queue q"
