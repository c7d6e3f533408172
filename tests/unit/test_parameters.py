"""Query parameters, headers and cursors, whatever is sent."""

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from urllib.parse import quote_from_bytes, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from functions.cursor import PATTERN, Cursor
from functions.errors import BadHeader, BadParameter, UnknownParameter
from functions.events import Position
from functions.opaque import sealed
from functions.parameters import Query, idempotency_key
from functions.tables import MAX_STREAMS

texts = st.text(max_size=30)

digests = st.from_regex("[0-9a-f]{0,16}", fullmatch=True)

storable = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=30)
"""What Postgres can hold."""


def request(query: str = "", **headers: str) -> Request:
    """A request with this query string and these headers."""
    named = [(n.replace("_", "-").encode(), v.encode("latin-1")) for n, v in headers.items()]
    return Request({"type": "http", "query_string": query.encode(), "headers": named})


@given(st.lists(st.tuples(texts, texts)))
def test_only_what_is_known_is_taken(pairs: list[tuple[str, str]]) -> None:
    """Any other name is refused with that name; nothing else is ever raised."""
    query = urlencode(pairs, errors="replace")
    strangers = [name for name, _ in pairs if name not in ("a", "b")]

    try:
        Query(request(query), "a", "b")
    except UnknownParameter as error:
        assert vars(error)["parameter"] in [
            name.encode(errors="replace").decode() for name in strangers
        ]
    else:
        assert strangers == []


READERS: dict[str, Callable[[Query], object]] = {
    "text": lambda query: query.text("a"),
    "number": lambda query: query.number("a", 30),
    "integer": lambda query: query.integer("a", 1, 100),
    "choice": lambda query: query.choice("a", "x"),
    "choices": lambda query: query.choices("a", "xy"),
    "time": lambda query: query.time("a"),
}


@pytest.mark.parametrize("kind", READERS)
@given(raw=st.binary(max_size=60))
def test_any_value_is_taken_or_refused(kind: str, raw: bytes) -> None:
    """As whatever it is read: no other error than those that become a 400."""
    query = Query(request(f"a={quote_from_bytes(raw)}"), "a")

    with suppress(BadParameter):
        READERS[kind](query)


@given(st.floats(min_value=0, max_value=1000).map(lambda number: round(number, 3)))
def test_numbers_are_read_back(number: float) -> None:
    """Up to their limit; a text that is no plain decimal is none."""
    text = f"{number:.3f}"
    query = Query(request(f"a={text}"), "a")

    if number <= 30:
        assert query.number("a", 30) == float(text)
    else:
        with pytest.raises(BadParameter, match="'a' has to be a number from 0 to 30"):
            query.number("a", 30)


@given(st.datetimes(datetime(1900, 1, 1), datetime(9000, 1, 1), timezones=st.timezones()))
def test_times_are_read_back(moment: datetime) -> None:
    """To the millisecond, in any zone."""
    read = Query(request(urlencode({"a": moment.isoformat()})), "a").time("a")

    assert read is not None
    assert 0 <= read - moment.timestamp() * 1000 < 1.001


@pytest.mark.parametrize(
    "text", ["1e", "+1", "-0", "0x1", "1_000", " 1", "1.", ".5", "\u0661", "inf"]
)
def test_numbers_have_one_spelling(text: str) -> None:
    """That of JSON, so that every reader understands the same."""
    with pytest.raises(BadParameter):
        Query(request(urlencode({"a": text})), "a").number("a", 10_000)


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=300))
def test_a_key_is_printable_ascii(text: str) -> None:
    """1 to 255 characters, or it is refused."""
    good = 1 <= len(text) <= 255 and text.isascii() and text.isprintable()
    try:
        assert idempotency_key(request(idempotency_key=text)) == text
    except BadHeader:
        assert not good
    else:
        assert good


def test_two_keys_are_none() -> None:
    """Nobody can tell which one is meant."""
    both = Request({"type": "http", "headers": [(b"idempotency-key", b"a")] * 2})

    assert idempotency_key(request()) is None
    with pytest.raises(BadHeader):
        idempotency_key(both)


@given(st.integers(0, 2**63 - 1), storable)
def test_a_cursor_is_read_back(created_at: int, workflow_id: str) -> None:
    """Whatever the id."""
    cursor = Cursor(created_at, workflow_id)

    assert Cursor.parse(str(cursor)) == cursor
    assert str(cursor).isascii()


@given(st.from_regex(r"[0-9]{1,19}\.[A-Za-z0-9_-]{0,40}", fullmatch=True))
def test_whatever_looks_like_a_cursor_is_one(text: str) -> None:
    """So that the document and the functions agree on what one is; Postgres takes it."""
    assert re.fullmatch(PATTERN, text)

    cursor = Cursor.parse(text)

    assert 0 <= cursor.created_at < 2**63
    assert "\0" not in cursor.workflow_id
    cursor.workflow_id.encode()


@given(st.one_of(texts, st.from_regex(r"[0-9.]{0,3}[A-Za-z0-9_-]{0,60}", fullmatch=True)))
def test_any_other_cursor_is_refused(text: str) -> None:
    """It is a cursor or a 400."""
    try:
        cursor = Cursor.parse(text)
    except BadParameter:
        return
    assert Cursor.parse(str(cursor)) == cursor


@given(digests, digests, st.dictionaries(storable, st.integers(0, 2**31)), digests)
def test_a_position_is_read_back(
    status: str, progress: str, offsets: dict[str, int], ended: str
) -> None:
    """From the id of any event."""
    position = Position(status, progress, offsets, ended)

    assert Position.from_request(request(last_event_id=str(position))) == position


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=255)))
def test_any_other_position_is_refused(text: str) -> None:
    """It is a position or a 400."""
    try:
        position = Position.from_request(request(last_event_id=text))
    except BadHeader:
        return
    assert all(type(offset) is int for offset in position.offsets.values())


@pytest.mark.parametrize(
    "text", ["x" * 8193, "0" * 1_240_000, sealed(["", "", {}, ""]) + "A" * 8192]
)
def test_a_large_position_is_refused(text: str) -> None:
    """Before it is read, since all others would wait meanwhile."""
    with pytest.raises(BadHeader, match=r"Last-Event-ID has to be .* at most 8192 characters"):
        Position.from_request(request(last_event_id=text))


@pytest.mark.parametrize(
    "value",
    [
        [],
        ["", "", {}],
        ["", "", [], ""],
        ["", "", "", ""],
        ["x" * 17, "", {}, ""],
        ["", 1, {}, ""],
        ["", "", {"a": 2**31 + 1}, ""],
        ["", "", {"a": 1.0}, ""],
        ["", "", {"a": {}}, ""],
        {"a": 1, "b": 2, "c": 3, "d": 4},
        "text",
        1,
    ],
)
def test_what_is_no_position_is_refused(value: object) -> None:
    """Nothing of it comes back in the id of another event."""
    with pytest.raises(BadHeader):
        Position.from_request(request(last_event_id=sealed(value)))


@given(
    st.lists(
        st.text(st.characters(codec="utf-8"), max_size=3000), max_size=MAX_STREAMS, unique=True
    )
)
def test_an_id_is_never_too_large_to_come_back(keys: list[str]) -> None:
    """Streams that have no place in it are not followed."""
    full = Position("0" * 16, "0" * 16, dict.fromkeys(keys, 2**31), "0" * 16)

    full.keep(full.followed(keys))

    assert len(str(full)) <= 8192
    assert set(full.offsets) <= set(keys)


def test_only_the_streams_of_the_workflow_stay_in_a_position() -> None:
    """Others are what a caller has made up."""
    position = Position(offsets={"known": 3, "made up": 4})

    followed = position.followed(["known", "new"])
    position.keep(followed)

    assert followed == {"known": 3, "new": 0}
    assert position.offsets == {"known": 3}
