# SPDX-License-Identifier: Apache-2.0
"""Exceptions of a service: a client of theirs builds them anew if it allows this module."""


class Sold(Exception):
    """Carries keyword arguments, as services' exceptions do."""

    def __init__(self, message=None, **kwargs):
        self.kwargs = kwargs
        super().__init__(message or f"sold: {sorted(kwargs.items())}")
