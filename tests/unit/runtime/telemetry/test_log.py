# SPDX-License-Identifier: Apache-2.0
import io
import json
import logging

import pytest

from transom.runtime.auth.context import Context
from transom.runtime.secrets import Secret
from transom.runtime.telemetry.correlation import current
from transom.runtime.telemetry.log import HumanFormatter, JsonFormatter, configure

HOSTILE = 'x\r\n{"level": "error"}\x1b[2J\u2028\x00'


@pytest.fixture
def stream():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_a_json_object_with_message_and_fields(stream):
    configure(stream=stream, role="api")
    logging.getLogger("transom.x").info("queue made", extra={"queue": "q", "count": 3})
    (line,) = lines(stream)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info", "logger": "transom.x", "message": "queue made",
        "role": "api", "queue": "q", "count": 3,
    }  # fmt: skip


def test_a_line_carries_the_request_and_project_on_whose_behalf_it_is(stream):
    configure(stream=stream)
    mark = current.set(Context("req-1", project_id="p"))
    try:
        logging.getLogger("x").warning("went wrong")
    finally:
        current.reset(mark)
    logging.getLogger("x").warning("later")
    first, second = lines(stream)
    assert (first["request_id"], first["project_id"]) == ("req-1", "p")
    assert "request_id" not in second


@pytest.mark.parametrize("human", [False, True])
def test_nothing_from_outside_can_make_a_line_or_move_the_cursor(stream, human):
    configure(stream=stream, human=human)
    logging.getLogger("x").info("asked %s", HOSTILE, extra={"queue": HOSTILE, "deep": [HOSTILE]})
    assert stream.getvalue().count("\n") == 1
    assert not {"\r", "\x1b", "\x00"} & set(stream.getvalue())


@pytest.mark.parametrize("human", [False, True])
def test_an_exception_is_shown_and_a_secret_is_not(stream, human):
    configure(stream=stream, human=human)
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("x").exception("failed", extra={"password": Secret("planted")})
    assert "ValueError: broken" in stream.getvalue()
    assert "planted" not in stream.getvalue()
    assert "***" in stream.getvalue()


class Unshowable:
    def __str__(self):
        raise RuntimeError


@pytest.mark.parametrize("human", [False, True])
@pytest.mark.parametrize("value", [Unshowable(), "\ud800", {1: {2}}, float("nan"), b"\xff", 2**80])
def test_a_field_that_cannot_be_shown_loses_no_line(stream, value, human):
    configure(stream=stream, human=human)
    logging.getLogger("x").info("kept", extra={"odd": value})
    assert "kept" in stream.getvalue()
    assert stream.getvalue().count("\n") == 1


def test_arguments_that_do_not_fit_lose_no_line():
    record = logging.LogRecord("x", logging.INFO, "", 0, "kept %d", ("text",), None)
    assert json.loads(JsonFormatter("").format(record))["message"] == "kept %d"
    assert "kept %d" in HumanFormatter("").format(record)


def test_configuring_again_replaces_and_the_level_holds(stream):
    configure(stream=io.StringIO())
    configure("WARNING", stream=stream)
    logging.getLogger("x").info("unseen")
    logging.getLogger("x").warning("seen")
    assert [line["message"] for line in lines(stream)] == ["seen"]
