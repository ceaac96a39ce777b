# SPDX-License-Identifier: Apache-2.0
"""`transom run ROLE`: one role in the foreground, as a service manager would start it.

`registry` is the embedded bus's; start it first, then `api` and any number of `worker`. With a zmq
bus between hosts it is the one at `[bus] serve_registry`. Beside a family that `transom up` runs on
the same folder, another `worker` joins its bus. Files have locks: a second owner is refused.
"""

import asyncio
import os
from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

import uvloop

from transom.cli.family import (
    LISTENER,
    check_descriptors,
    check_processes,
    door_url,
    stop_signals,
)
from transom.cli.logs import log_to_file
from transom.cli.registry import registry
from transom.cli.roles import ROLES, Listeners, start_role
from transom.cli.settings import PARTS, ApiConfig, BusConfig, Settings
from transom.errors import BadRequest, ConfigError
from transom.node.folder import State
from transom.runtime.http.listen import bind
from transom.runtime.lifecycle import Lifecycle

REGISTRY = "registry"


def run(options: Namespace) -> int:
    role = options.role
    if role not in (*ROLES, REGISTRY):
        raise BadRequest(f"no role is called {role!r}; there are {', '.join((*ROLES, REGISTRY))}")
    settings = replace(Settings.of(options), only=_chosen(role, options.only))
    check_descriptors()
    check_processes(settings, single_process=False)
    settings.data.prepare()
    settings.remember_database()
    log_to_file(settings, "-".join((role, *settings.only)))
    with (
        ExitStack() as taken,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        if role == REGISTRY:
            if registry(settings) is None:
                raise ConfigError(
                    "[bus] url names a bus whose registry is not served here; if it is a zmq bus "
                    "between hosts, set [bus] serve_registry to an address of this one"
                )
            if not settings.config.section(BusConfig).url:
                _make_runtime_folder(settings, taken)
            runner.run(_serve(role, settings, {}))
            return 0
        _check_bus(settings)
        settings, listeners = _door(role, settings, options.port, taken)
        runner.run(_serve(role, settings, listeners))
    return 0


def _make_runtime_folder(settings: Settings, taken: ExitStack) -> None:
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


def _chosen(role: str, only: Sequence[str]) -> tuple[str, ...]:
    """The parts that `--only` names. Raises: BadRequest."""
    chosen = tuple(dict.fromkeys(name.strip() for text in only for name in text.split(",")))
    for name in chosen:
        if name not in PARTS:
            raise BadRequest(f"no part is called {name!r}; there are {', '.join(PARTS)}")
    if chosen and role != "api":
        raise BadRequest("--only chooses the parts behind the doors, which only the role api has")
    return chosen


def _door(
    role: str, settings: Settings, port: int | None, taken: ExitStack
) -> tuple[Settings, Listeners]:
    """Only `api` has doors; its settings then know their address."""
    if role != "api":
        return settings, {}
    api = settings.config.section(ApiConfig)
    port = api.port if port is None else port
    listener = taken.enter_context(bind(api.host, port, force_plain=api.leaves_loopback))
    url = api.public_url or door_url(api.scheme, api.host, listener)
    return replace(settings, public_url=url), {LISTENER: listener}


async def _serve(role: str, settings: Settings, listeners: Listeners) -> None:
    """Until one of `stop_signals`."""
    async with Lifecycle() as lifecycle:
        loop = asyncio.get_running_loop()
        for number in stop_signals():
            loop.add_signal_handler(number, lifecycle.request_stop)
        ours = registry(settings) if role == REGISTRY else None
        if ours is not None:
            await lifecycle.start(REGISTRY, ours)
        else:
            name = f"{role}-{os.getpid()}"
            await start_role(role, name, settings, listeners, lifecycle)
        where = f" at {settings.public_url}" if settings.public_url else ""
        print(f"{role} is ready{where}", flush=True)
        await lifecycle.wait()
