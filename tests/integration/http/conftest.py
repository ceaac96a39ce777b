# SPDX-License-Identifier: Apache-2.0
"""Doors run on uvloop, so they are tested on it."""

import uvloop


def pytest_asyncio_loop_factories(config, item):
    return {"uvloop": uvloop.new_event_loop}
