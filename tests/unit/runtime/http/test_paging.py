# SPDX-License-Identifier: Apache-2.0
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom.errors import BadRequest
from transom.runtime.http.dispatch import parsed_query
from transom.runtime.http.paging import next_link, parsed_limit

texts = st.text(st.characters(exclude_categories=["Cs"]))
queries = st.dictionaries(texts.filter(bool), texts, max_size=5)


def test_without_a_limit_the_default_holds():
    assert parsed_limit({}, default=10, most=20) == 10


@given(st.integers())
def test_a_limit_is_taken_within_its_bounds_and_refused_beyond(limit):
    query = {"limit": str(limit), "marker": "m"}
    if 1 <= limit <= 1000:
        assert parsed_limit(query, default=10, most=1000) == limit
    else:
        with pytest.raises(BadRequest):
            parsed_limit(query, default=10, most=1000)


@pytest.mark.parametrize("text", ["", " 1", "1 ", "+1", "1_0", "0x1", "1.0", "١", "²", "9" * 5000])
def test_only_plain_whole_numbers_are_limits(text):
    with pytest.raises(BadRequest, match="limit"):
        parsed_limit({"limit": text}, default=10, most=1000)


@given(queries, texts)
def test_a_next_link_asks_for_the_same_from_the_next_marker(query, marker):
    link = urlsplit(next_link("/v2/queues", query, marker=marker))
    assert link.path == "/v2/queues"
    assert dict(parse_qsl(link.query, keep_blank_values=True)) == {**query, "marker": marker}


@given(queries, texts)
def test_the_door_reads_a_next_link_as_it_was_meant(query, marker):
    link = urlsplit(next_link("/x", query, marker=marker))
    assert parsed_query(link.query.encode()) == {**query, "marker": marker}


@given(st.lists(st.integers(0, 10_000), unique=True), st.integers(1, 7))
def test_following_next_links_shows_every_item_once(items, limit):
    stored = sorted(items)
    query, shown = {"limit": str(limit)}, []
    while True:
        most = parsed_limit(query, default=5, most=10)
        after = int(query.get("marker", -1))
        found = [item for item in stored if item > after][:most]
        shown += found
        if len(found) < most:
            break
        query = parsed_query(
            next_link("/x", query, marker=str(found[-1])).partition("?")[2].encode()
        )
    assert shown == stored


def test_of_a_name_sent_twice_the_last_value_holds_and_blanks_stay():
    assert parsed_query(b"a=1&b=&a=2&c") == {"a": "2", "b": "", "c": ""}


@pytest.mark.parametrize(
    "query", [b"a=%ff", b"%ED%A0%80=1", "a=é".encode(), b"&".join([b"a=1"] * 300)]
)
def test_a_query_that_does_not_decode_is_a_bad_request(query):
    with pytest.raises(BadRequest):
        parsed_query(query)


@given(st.text(alphabet="ab=&;,-", max_size=20))
def test_a_query_without_escapes_is_read_as_one_with_them(text):
    assert parsed_query(text.encode()) == dict(parse_qsl(text, keep_blank_values=True))
