# SPDX-License-Identifier: Apache-2.0
"""`transom run ROLE`: one role in the foreground, as a service manager would start it.

`registry` is the embedded bus's; start it first, then `api` and any number of `worker`. Beside a
family that `transom up` runs on the same folder, another `worker` joins its bus. Files have locks:
a second owner is refused.
"""

import asyncio
import os
from argparse import Namespace
from contextlib import ExitStack

import uvloop

from transom.cli.family import LISTENER, door_url, registry, stop_signals
from transom.cli.logs import log_to_file
from transom.cli.roles import ROLES, Listeners, start_role
from transom.cli.settings import ApiConfig, BusConfig, Settings
from transom.errors import BadRequest, ConfigError
from transom.node.folder import State
from transom.runtime.http.listen import bind
from transom.runtime.lifecycle import Lifecycle

REGISTRY = "registry"


def run(options: Namespace) -> int:
    role = options.role
    if role not in (*ROLES, REGISTRY):
        raise BadRequest(f"no role is called {role!r}; there are {', '.join((*ROLES, REGISTRY))}")
    settings = Settings.of(options)
    settings.data.prepare()
    log_to_file(settings, role)
    with (
        ExitStack() as taken,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        if role == REGISTRY:
            _make_runtime_folder(settings, taken)
            runner.run(_serve(role, settings, {}))
            return 0
        _check_bus(settings)
        settings, listeners = _door(role, settings, taken)
        runner.run(_serve(role, settings, listeners))
    return 0


def _make_runtime_folder(settings: Settings, taken: ExitStack) -> None:
    if settings.config.section(BusConfig).url:
        raise ConfigError("[bus] url names a bus of its own; this registry would serve nobody")
    settings.data.take()
    taken.callback(settings.data.release)
    settings.runtime_folder.make()
    taken.callback(settings.runtime_folder.remove)
    settings.data.write_state(State(os.getpid(), 0, "", str(settings.runtime_folder.path)))
    taken.callback(settings.data.clear_state)


def _check_bus(settings: Settings) -> None:
    if not settings.config.section(BusConfig).url and not settings.runtime_folder.path.is_dir():
        raise ConfigError(
            "there is no bus here; start `transom run registry` or `transom up` on this folder "
            "first, or set [bus] url"
        )


def _door(role: str, settings: Settings, taken: ExitStack) -> tuple[Settings, Listeners]:
    """Only `api` has doors; its settings then know their address."""
    if role != "api":
        return settings, {}
    api = settings.config.section(ApiConfig)
    listener = taken.enter_context(bind(api.host, api.port, force_plain=api.plain_http_anywhere))
    url = api.public_url or door_url(api.host, listener)
    settings = Settings(settings.config, settings.data, settings.file, url)
    return settings, {LISTENER: listener}


async def _serve(role: str, settings: Settings, listeners: Listeners) -> None:
    """Until one of `stop_signals`."""
    async with Lifecycle() as lifecycle:
        loop = asyncio.get_running_loop()
        for number in stop_signals():
            loop.add_signal_handler(number, lifecycle.request_stop)
        if role == REGISTRY:
            await lifecycle.start(REGISTRY, registry(settings))
        else:
            name = f"{role}-{os.getpid()}"
            await start_role(role, name, settings, listeners, lifecycle)
        where = f" at {settings.public_url}" if settings.public_url else ""
        print(f"{role} is ready{where}", flush=True)
        await lifecycle.wait()
