# SPDX-License-Identifier: Apache-2.0
"""Answers held against the OpenAPI document that describes them."""

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema_rs

from support.http import Reply

Operation = tuple[str, str, str]
"""(prefix of the mount, method, path template below it)"""


def operations(documents: Mapping[str, Any]) -> dict[Operation, Any]:
    """What the documents describe. `documents`: prefix of a mount -> its document."""
    return {
        (prefix, method.upper(), "" if path == "/" else path): described
        for prefix, document in documents.items()
        for path, methods in document["paths"].items()
        for method, described in methods.items()
    }


class Described:
    """The documents of all mounts of a port."""

    def __init__(self, documents: Mapping[str, Any]) -> None:
        self._documents = documents
        self._validators: dict[tuple[str, str], Any] = {}
        self.operations = operations(documents)

    def faults(self, operation: Operation, reply: Reply) -> Iterator[str]:
        """What of the answer the document does not say."""
        prefix, method, path = operation
        where = f"{method} {prefix}{path} {reply.status}"
        answer = self.operations[operation]["responses"].get(str(reply.status))
        if answer is None:
            yield f"{where}: the status is not described"
            return
        answer = self._resolved(prefix, answer)
        for name in answer.get("headers", {}):
            if name.lower() not in reply.headers:
                yield f"{where}: has no header {name}"
        media_type = reply.headers.get("content-type", "").partition(";")[0]
        content = {
            described.partition(";")[0]: at for described, at in answer.get("content", {}).items()
        }
        if not reply.body:
            if content and method != "HEAD":
                yield f"{where}: has no body"
        elif media_type not in content:
            yield f"{where}: {media_type!r} is not described"
        elif "json" in media_type:
            validator = self._validator(prefix, content[media_type]["schema"])
            for error in validator.iter_errors(reply.json()):
                yield f"{where}: {error.message} at {error.instance_path}"

    def _resolved(self, prefix: str, described: Any) -> Any:
        found = described
        while "$ref" in found:
            at = self._documents[prefix]
            for name in found["$ref"].removeprefix("#/").split("/"):
                at = at[name]
            found = at
        return found

    def _validator(self, prefix: str, schema: Any) -> Any:
        key = (prefix, repr(schema))
        if key not in self._validators:
            whole = {**schema, "components": self._documents[prefix]["components"]}
            self._validators[key] = jsonschema_rs.Draft202012Validator(whole)
        return self._validators[key]
