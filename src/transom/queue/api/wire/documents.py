# SPDX-License-Identifier: Apache-2.0
"""What every answer may hold: links, refusals; and the home document."""

from typing import Any, TypedDict

from msgspec import Struct

from transom.runtime.http.versions import Version


class Link(Struct):
    rel: str
    href: str


class Home(TypedDict):
    """A json-home document, and the version that SDKs look for here."""

    resources: dict[str, Any]
    version: Version


class Refusal(Struct):
    title: str
    description: str
