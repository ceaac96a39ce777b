# SPDX-License-Identifier: Apache-2.0
"""Documents from routes: what each says, and that it says the same each time."""

import json
from typing import Annotated, Any, TypedDict

import msgspec
import pytest

from transom.runtime.http.openapi import document, documented, part_of
from transom.runtime.http.route import Answer, Call, Mount, Parameter, Route

OF_ALL = {"400", "406", "500", "503"}
SECURED = {"401", "403", "429"}
OF_BODIES = {"408", "413", "415"}


class Colour(msgspec.Struct):
    """What a thing looks like."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=9, pattern=r"\A[a-z]*\Z")]
    depth: int | None = None


class Fault(TypedDict):
    text: str


def shaped(entry: Any, text: str, request_id: str) -> Fault:
    return {"text": text}


async def handler(call: Call[Any]) -> Answer:
    return Answer()


def route(method: str = "GET", path: str = "/v1/things", **more: Any) -> Route:
    return Route(method, path, handler, **more)


def operation(one: Route) -> Any:
    described = document(Mount("/part", [one], shaped))
    return described["paths"][one.path][one.method.lower()]


def parameter(at: Parameter) -> Any:
    path = "/v1/things/{thing}" if at.where == "path" else "/v1/things"
    found = operation(route(path=path, parameters=(at,)))["parameters"]
    return next(one for one in found if one["name"] == at.name)


def test_the_same_routes_give_the_same_bytes() -> None:
    mount = Mount("/part", [route(body=Colour, answers={200: Colour})], shaped)
    assert json.dumps(document(mount)) == json.dumps(document(mount))


def test_a_document_says_where_it_is_served_and_how_one_signs_in() -> None:
    described = document(Mount("/part", [route()], shaped))
    assert described["openapi"] == "3.1.0"
    assert described["servers"] == [{"url": "/part"}]
    scheme = described["components"]["securitySchemes"]["token"]
    assert (scheme["in"], scheme["name"]) == ("header", "X-Auth-Token")


@pytest.mark.parametrize(("prefix", "name"), [("/part", "part"), ("", "root"), ("/a/b", "a-b")])
def test_a_document_is_called_after_its_mount(prefix: str, name: str) -> None:
    assert part_of(Mount(prefix, [])) == name


def test_the_mounts_root_has_a_path() -> None:
    described = document(Mount("", [route(path="")], shaped))
    assert (list(described["paths"]), described["servers"]) == (["/"], [{"url": "/"}])


@pytest.mark.parametrize(
    ("path", "called", "tag"),
    [
        ("/v1/things", "get_v1_things", "things"),
        ("/v1/things/{thing}/parts", "get_v1_things_thing_parts", "parts"),
        ("/v1/things/{thing}/weight", "get_v1_things_thing_weight", "things"),
        ("/v1/ping", "get_v1_ping", "ping"),
        ("/v1", "get_v1", "versions"),
    ],
)
def test_ids_and_tags_follow_from_the_path(path: str, called: str, tag: str) -> None:
    parts = route("DELETE", "/v1/things/{thing}/parts/{part}")
    described = document(Mount("/part", [route(path=path), parts], shaped))
    found = described["paths"][path]["get"]
    assert (found["operationId"], found["tags"]) == (called, [tag])


def test_two_operations_of_one_id_are_refused() -> None:
    twice = [route(path="/v1/{thing}"), route(path="/v1/thing")]
    with pytest.raises(ValueError, match="get_v1_thing"):
        document(Mount("/part", twice, shaped))


@pytest.mark.parametrize(
    ("one", "statuses"),
    [
        (route(answers={200: Colour}), {"200"} | OF_ALL | SECURED),
        (route(public=True, answers={200: Colour}), {"200"} | OF_ALL),
        (route(public=True, checks_token=True), OF_ALL | SECURED),
        (route(path="/v1/things/{thing}"), {"404"} | OF_ALL | SECURED),
        (route("POST", body=Colour), {"507"} | OF_ALL | SECURED | OF_BODIES),
        (route("POST", repeatable=True), {"409", "507"} | OF_ALL | SECURED),
    ],
)
def test_what_the_door_refuses_stands_with_what_it_can_happen_to(
    one: Route, statuses: set[str]
) -> None:
    assert set(operation(one)["responses"]) == statuses


def test_a_refusal_has_the_mounts_form_and_says_when_to_come_back() -> None:
    described = document(Mount("/part", [route()], shaped))
    found = described["components"]["responses"]["unavailable"]
    assert found["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Fault"}
    assert set(found["headers"]) == {"X-Openstack-Request-Id", "Retry-After"}
    answers = described["paths"]["/v1/things"]["get"]["responses"]
    assert answers["503"] == {"$ref": "#/components/responses/unavailable"}


def test_what_a_route_says_of_a_status_goes_before_what_the_door_says() -> None:
    found = operation(route(answers={503: Colour}))["responses"]["503"]
    assert found["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Colour"}
    assert "Retry-After" in found["headers"]


def test_answers_have_their_media_types_and_an_empty_one_has_none() -> None:
    found = operation(route(answer_types=("text/plain",), answers={200: bytes, 204: None}))
    assert found["responses"]["200"]["content"] == {"text/plain": {"schema": {"type": "string"}}}
    assert "content" not in found["responses"]["204"]


def test_head_answers_without_bodies() -> None:
    found = operation(route("HEAD", "/v1/things/{thing}", answers={204: None}))
    assert all("content" not in answer for answer in found["responses"].values())


@pytest.mark.parametrize(("optional", "required"), [(True, None), (False, True)])
def test_a_body_has_its_shape_and_its_bound(optional: bool, required: bool | None) -> None:
    one = route(
        "POST", body=Colour, body_optional=optional, body_types=("a/b",), body_bytes_max=1000
    )
    found = operation(one)["requestBody"]
    assert found.get("required") is required
    assert found["content"] == {"a/b": {"schema": {"$ref": "#/components/schemas/Colour"}}}
    assert "1,000 bytes" in found["description"]


def test_bounds_of_a_shape_show_and_patterns_are_of_ecmascript() -> None:
    described = document(Mount("/part", [route("POST", body=Colour)], shaped))
    name = described["components"]["schemas"]["Colour"]["properties"]["name"]
    assert name == {"type": "string", "minLength": 1, "maxLength": 9, "pattern": "^[a-z]*$"}


def test_lists_stand_between_commas_and_objects_are_fields_of_their_own() -> None:
    ids = parameter(Parameter("ids", "", list[str]))
    assert (ids["style"], ids["explode"]) == ("form", False)
    free = parameter(Parameter("KEY", "", dict[str, str]))
    assert (free["style"], free["explode"]) == ("form", True)


def test_a_field_of_the_path_is_as_the_route_says_or_any_text() -> None:
    named = Annotated[str, msgspec.Meta(max_length=3)]
    declared = parameter(Parameter("thing", "Its name", named, "path"))
    assert (declared["schema"]["maxLength"], declared["required"]) == (3, True)
    (free,) = operation(route(path="/v1/things/{thing}"))["parameters"]
    assert (free["schema"], free["required"]) == ({"type": "string", "minLength": 1}, True)


def test_a_field_that_the_path_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="no field thing"):
        operation(route(parameters=(Parameter("thing", "", str, "path"),)))


@pytest.mark.parametrize(
    ("one", "schemes"),
    [(route(), [{"token": []}]), (route(public=True), [])],
)
def test_security_is_said_of_each_operation(one: Route, schemes: list[Any]) -> None:
    assert operation(one)["security"] == schemes


def test_a_repeatable_route_takes_a_key() -> None:
    (key,) = operation(route("POST", repeatable=True))["parameters"]
    assert (key["name"], key["in"], "required" in key) == ("Idempotency-Key", "header", False)


async def test_a_documented_mount_serves_its_document_which_holds_that_route_too() -> None:
    mount = documented(Mount("/part", [route()], shaped))
    own = mount.routes[-1]
    answer = await own.handler(Call(None, "", {}, {}, {}, None))  # type: ignore[arg-type]
    assert json.loads(answer.body) == document(mount)
    assert (own.public, "/openapi.json" in document(mount)["paths"]) == (True, True)
