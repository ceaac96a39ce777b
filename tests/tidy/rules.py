# SPDX-License-Identifier: Apache-2.0
"""The structure rules of ARCHITECTURE.md and STYLE.md: functions from a tree to its faults."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from tidy.source import Module

LAYERS = ("errors", "runtime", "messaging", "node", "PART", "cli")
PARTS = {
    "identity", "keys", "queue", "images", "search", "sources", "policy", "cascade", "console",
}  # fmt: skip
ROOMS = {
    "model": 0, "config": 0, "contract": 1, "logic": 1, "store": 2, "app": 3, "api": 4, "bus": 4,
    "service": 5,
}  # fmt: skip
OWN_ROOMS = {
    "policy": {"datalog"}, "sources": {"drivers"}, "cascade": {"regions"},
    "images": {"blobs", "artifacts", "inspect"}, "search": {"index", "sources"},
    # What goes out to subscribers: neither a door nor wiring. What programs elsewhere import: it
    # knows the API alone, and nothing of the server.
    "queue": {"deliveries", "client"},
}  # fmt: skip
PURE_ROOMS = {"logic", "model", "contract"}
PURE_PLACES = ("messaging.proto", "messaging.security", "node.logic", "policy.datalog")
IMPURE = {
    "asyncio", "concurrent", "ctypes", "http", "logging", "mmap", "multiprocessing", "os",
    "pathlib", "queue", "random", "resource", "secrets", "select", "selectors", "shutil",
    "signal", "socket", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib",
    "aiohttp", "falcon", "httptools", "prometheus_client", "uvicorn", "uvloop",
    "websockets",
}  # fmt: skip
TEXT_ONLY = ("urllib.parse",)
"""Of an impure library, what only takes texts apart."""
CLIENT_LIBRARIES = {
    "aio_pika", "aiormq", "asyncpg", "kombu", "nats", "pika", "psycopg", "redis", "sqlite3", "zmq",
}  # fmt: skip
IMPURE_CALLS = {
    "now", "utcnow", "today", "uuid1", "uuid4", "urandom", "token_bytes", "token_hex", "monotonic",
    "perf_counter", "time_ns", "getenv", "open", "print", "input",
}  # fmt: skip
VAGUE_NAMES = {"common", "utils", "util", "helpers", "helper", "manager", "misc", "base"}
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 50

Modules = Mapping[str, Module]


def _layer(parts: list[str]) -> str:
    if not parts:
        return "PART"  # the package's own __init__: nothing may hang on it but a version
    return "PART" if parts[0] in PARTS else parts[0]


def _room(parts: list[str]) -> str:
    return parts[1] if len(parts) > 1 and parts[0] in PARTS else ""


def layers(modules: Modules) -> Iterator[str]:
    """errors <- runtime <- messaging <- node <- parts <- cli; parts meet only at contracts."""
    for module in modules.values():
        here = module.parts
        if here and _layer(here) not in LAYERS:
            yield f"{module.name}: {here[0]} is no layer and no part"
            continue
        for found in module.imports:
            there = found.name.split(".")[1:]
            if not here or not there or found.name.split(".")[0] != module.name.split(".")[0]:
                continue
            if _layer(there) not in LAYERS:
                continue
            if LAYERS.index(_layer(there)) > LAYERS.index(_layer(here)):
                yield f"{module.name}:{found.line}: {here[0]} imports the later layer {there[0]}"
            foreign = here[0] in PARTS and there[0] in PARTS and here[0] != there[0]
            if foreign and _room(there) != "contract":
                yield f"{module.name}:{found.line}: of {there[0]} only its contract may be seen"


def rooms(modules: Modules) -> Iterator[str]:
    """Inside a part: known rooms, and a lower one never imports a higher one."""
    for module in modules.values():
        here = module.parts
        if not here or here[0] not in PARTS:
            continue
        room = _room(here)
        own = OWN_ROOMS.get(here[0], set())
        if room and room not in ROOMS and room not in own:
            yield f"{module.name}: {room} is no room of a part"
            continue
        for found in module.imports:
            there = found.name.split(".")[1:]
            if there[:1] != here[:1] or _room(there) not in ROOMS or room not in ROOMS:
                continue
            if ROOMS[_room(there)] > ROOMS[room]:
                yield f"{module.name}:{found.line}: room {room} imports room {_room(there)}"


def is_pure(module: Module) -> bool:
    below = ".".join(module.parts)
    return _room(module.parts) in PURE_ROOMS or any(
        below == place or below.startswith(place + ".") for place in PURE_PLACES
    )


def purity(modules: Modules) -> Iterator[str]:
    """Pure rooms neither do input or output nor ask for time, ids or chance, however far down."""
    for module in modules.values():
        if not is_pure(module):
            continue
        for node in ast.walk(module.tree):
            name = _called(node)
            if name in IMPURE_CALLS:
                yield f"{module.name}:{getattr(node, 'lineno', 0)}: pure room calls {name}()"
            if isinstance(node, ast.Attribute) and node.attr == "environ":
                yield f"{module.name}:{node.lineno}: pure room reads the environment"
        for chain, library in _impure_reach(module, modules):
            yield f"{module.name}: pure room reaches {library} through {' -> '.join(chain)}"


def _called(node: ast.AST) -> str:
    if not isinstance(node, ast.Call):
        return ""
    if isinstance(node.func, ast.Name):
        return node.func.id
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


def _impure_reach(start: Module, modules: Modules) -> Iterator[tuple[list[str], str]]:
    """Every impure library that loading `start` loads, with one way to it."""
    waiting: list[tuple[Module, list[str]]] = [(start, [start.name])]
    seen = {start.name}
    told: set[str] = set()
    while waiting:
        module, chain = waiting.pop(0)
        for found in module.imports:
            if found.typing or (found.lazy and module is not start):
                continue
            if found.name.startswith(TEXT_ONLY):
                continue
            library = found.name.split(".")[0]
            if library in IMPURE | CLIENT_LIBRARIES and library not in told:
                told.add(library)
                yield chain, library
            for name in _with_parents(found.name):
                if name in modules and name not in seen:
                    seen.add(name)
                    waiting.append((modules[name], [*chain, name]))


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    for count in range(2, len(parts) + 1):
        yield ".".join(parts[:count])


def drivers(modules: Modules) -> Iterator[str]:
    """Clients of other systems only in driver rooms, which are loaded only when used."""
    for module in modules.values():
        here = module.parts
        inside = "drivers" in here or here[:2] == ["runtime", "db"]
        for found in module.imports:
            library = found.name.split(".")[0]
            if library in CLIENT_LIBRARIES and not inside:
                yield f"{module.name}:{found.line}: {library} is imported outside a driver room"
            there = found.name.split(".")[1:]
            if there[:2] != ["messaging", "drivers"] or found.name not in modules or found.typing:
                continue
            if len(there) < 3:
                continue
            if there[2] != "base" and there[:3] != here[:3] and not found.lazy:
                yield f"{module.name}:{found.line}: driver {there[2]} is loaded before its use"


def sizes(modules: Modules) -> Iterator[str]:
    """At most 400 code lines a file and 50 a function; texts and tables do not count."""
    for module in modules.values():
        if len(module.code_lines) > FILE_LINES_MAX:
            yield f"{module.name}: {len(module.code_lines)} code lines, at most {FILE_LINES_MAX}"
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                end = node.end_lineno or node.lineno
                count = len(module.code_lines & set(range(node.lineno, end + 1)))
                if count > FUNCTION_LINES_MAX:
                    yield f"{module.name}: {node.name} has {count} lines, at most 50"


def names(modules: Modules) -> Iterator[str]:
    """No room or file named after nothing; `base` only holds a Protocol."""
    for module in modules.values():
        name = module.parts[-1] if module.parts else ""
        if name == "base" and "Protocol" in module.text:
            continue
        if name in VAGUE_NAMES:
            yield f"{module.name}: {name} says nothing of what is inside"


def excepts(modules: Modules) -> Iterator[str]:
    """A handler of everything says in a `Safety:` comment why it is one."""
    for module in modules.values():
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.ExceptHandler):
                continue
            broad = node.type is None or (
                isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"}
            )
            near = range(node.lineno - 1, node.body[0].lineno + 1)
            if broad and not any("Safety:" in module.comments.get(line, "") for line in near):
                yield f"{module.name}:{node.lineno}: handles everything and does not say why"


def headers(modules: Modules) -> Iterator[str]:
    """Every file says what it is."""
    for module in modules.values():
        if module.parts and ast.get_docstring(module.tree) is None:
            yield f"{module.name}: has no docstring"


RULES = (layers, rooms, purity, drivers, sizes, names, excepts, headers)

DECISION_SECTIONS = ("Context", "Decision", "Consequences", "Measured")


def decisions(folder: Path) -> Iterator[str]:
    """docs/decisions/NNNN-title.md: numbered without a hole, one page, always the same sections."""
    found = sorted(folder.glob("*.md"))
    for number, path in enumerate(found, 1):
        if not re.fullmatch(rf"{number:04d}-[a-z0-9-]+\.md", path.name):
            yield f"{path.name}: expected {number:04d}-title-in-lower-case.md"
        text = path.read_text("utf-8")
        if not re.match(rf"# {number}\. \S.*\n\nStatus: (accepted|replaced by \d{{4}})", text):
            yield f"{path.name}: begins with '# {number}. Title', a blank line and 'Status: ...'"
        sections = tuple(re.findall(r"^## (.+)$", text, re.MULTILINE))
        if sections != DECISION_SECTIONS:
            yield f"{path.name}: sections are {', '.join(DECISION_SECTIONS)}"
        if len(text.splitlines()) > 60:
            yield f"{path.name}: more than a page"


FOREIGN = re.compile(
    "|".join(["python" + "hosted", "pypi" + r"\.org", "registry" + r"\.npmjs", "deb" + r"\.debian",
              "index" + "-url", "/root" + "/", r"/wo" + "rk/", "/tmp/bash" + "_jobs"])
)  # fmt: skip


def foreign(files: Mapping[str, str]) -> Iterator[str]:
    """No file names a registry's host or a path of one machine. `files`: name -> text."""
    for name, text in files.items():
        for number, line in enumerate(text.splitlines(), 1):
            if FOREIGN.search(line) and "no-emit" not in line:
                yield f"{name}:{number}: names a registry host or a path of one machine"


LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)(?:#[^)]*)?\)")


def links(root: Path, documents: Mapping[str, str]) -> Iterator[str]:
    """Relative links of the documents lead somewhere."""
    for name, text in documents.items():
        for target in LINK.findall(text):
            if not (root / name).parent.joinpath(target).exists():
                yield f"{name}: link to {target} leads nowhere"
