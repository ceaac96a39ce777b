# SPDX-License-Identifier: Apache-2.0
"""The endpoint of the process that may write a file. See the package."""

import asyncio
import base64
import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from transom.errors import InternalError, TransomError
from transom.queue.bus.frames import TARGET, Done, Failed, decode_verbs, encode, failed
from transom.queue.store.verbs.travelling import Travelling
from transom.queue.store.verbs.verb import Writer

log = logging.getLogger(__name__)


class Owner:
    """The endpoint of the process that may write. `writer`: its own."""

    target = TARGET

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def write(self, context: Mapping[str, Any], frame: str) -> str:
        """Carries out every verb of the frame, each by itself."""
        verbs = decode_verbs(base64.b64decode(frame))
        outcomes = await asyncio.gather(*map(self._outcome, verbs))
        return base64.b64encode(encode(outcomes)).decode()

    async def problem(self, context: Mapping[str, Any]) -> str:
        """What keeps it from writing; "" if nothing."""
        return self._writer.problem

    async def _outcome(self, verb: Travelling) -> Done | Failed:
        try:
            value: Any = await self._writer.write(verb)
            return Done(msgspec.Raw(encode(value)))
        except TransomError as error:
            return failed(error)
        except Exception as error:  # Safety: told to who asked, as an error of ours
            log.exception("verb failed", extra={"verb": type(verb).__name__})
            return failed(InternalError(detail=repr(error)))
