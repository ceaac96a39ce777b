"""The home document names every call there is, and nothing else."""

import re
from pathlib import Path

from support.queues import open_door

NO_RELATION = {"/v2", "/", ""}


def template(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path)


async def test_every_route_has_a_relation_that_allows_its_method(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        reply = await door.ask("GET", "/v2", token="", client=None)
        assert reply.headers["content-type"] == "application/json-home"
        told: dict[str, set[str]] = {}
        for relation in reply.json()["resources"].values():
            href = relation.get("href-template") or relation["href"]
            path = template(re.sub(r"\{\?[^}]*\}", "", href))
            told.setdefault(path, set()).update(relation["hints"]["allow"])
        served: dict[str, set[str]] = {}
        mount = door.service.mount
        for path, method in [
            *((route.path, route.method) for route in mount.routes),
            *((socket.path, "GET") for socket in mount.sockets),
        ]:
            if path not in NO_RELATION:
                served.setdefault(template(path), set()).add(method)
    for path, methods in told.items():
        assert methods - {"HEAD"} == served.get(path, set()) - {"HEAD"}, path
    assert served.keys() == told.keys()


async def test_every_parameter_of_a_query_is_named(tmp_path: Path) -> None:
    async with open_door(tmp_path) as door:
        reply = await door.ask("GET", "/v2", token="", client=None)
        told: dict[str, set[str]] = {}
        for relation in reply.json()["resources"].values():
            href = relation.get("href-template") or relation["href"]
            path, _, query = href.partition("{?")
            names = set(query.rstrip("}").split(",")) if query else set()
            told.setdefault(template(path), set()).update(names)
        routes = door.service.mount.routes
    for route in routes:
        if route.path not in NO_RELATION:
            read = {at.name for at in route.parameters if at.where == "query"} - {"KEY"}
            assert read <= told[template(route.path)], (route.method, route.path)
