"""What is refused since it is too large to be stored, the first time and in every replay."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dbos import DBOSPortableJSONSerializer
from pydantic import BaseModel

from tests.conftest import NewDatabase
from worker.errors import ValueTooLarge
from worker.limits import Limit
from worker.values import Form, jsonable

LIMIT = Limit("MAX_RESULT_BYTES", 1000)

Heard = dict[str, Any]


class Lines(BaseModel):
    lines: list[str]


VALUES = ["ä" * 500, "\x01" * 200, 10**1000, ["x" * 997], "\ud800" * 170, [1e22] * 200]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
@pytest.mark.parametrize("hint", ["hinted", "unhinted", "announced", "told"])
def test_a_value_is_measured_as_it_is_stored(value: Any, hint: str) -> None:
    """A limit of exactly its bytes accepts it, one less refuses it."""
    size = len(DBOSPortableJSONSerializer().serialize(value).encode(errors="backslashreplace"))
    form = Form(type(value) if hint == "hinted" else Any, "the return hint of it")
    dump = {"announced": form.announce, "told": jsonable}.get(hint, form.dump)

    kept = dump(value, "it", Limit("MAX", size))
    with pytest.raises(ValueTooLarge) as refused:
        dump(value, "it", Limit("MAX", size - 1))

    assert kept == value
    assert vars(refused.value) == {"what": "it", "size": size, "limit": size - 1, "setting": "MAX"}


def test_what_fits_is_not_written_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """What pydantic has written of it is long enough to tell, or its number of characters."""
    monkeypatch.delattr(Limit, "check")

    for value in ("x" * 166, Lines(lines=["x" * 400]), 10**300, None, True):
        Form(type(value), "the return hint of it").dump(value, "it", LIMIT)
    assert jsonable(["x" * 400], "it", LIMIT) == ["x" * 400]


@pytest.fixture(scope="module")
def heard(root: Path, new_database: NewDatabase, template: str) -> Heard:
    """What the program `limited` has told."""
    command = [sys.executable, "-m", "tests.unit.limited", new_database(template)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


TOO_LARGE = {
    "the result of the step 'text'": (2001, 2000, "MAX_RESULT_BYTES"),
    "the result of the step 'unhinted'": (2001, 2000, "MAX_RESULT_BYTES"),
    "the result of the workflow 'child'": (2001, 2000, "MAX_RESULT_BYTES"),
    "the result of the step 'page'": (2013, 2000, "MAX_RESULT_BYTES"),
    "the event 'long'": (2002, 1000, "MAX_VALUE_BYTES"),
    "a value of the stream 'long'": (2002, 1000, "MAX_VALUE_BYTES"),
    "the message to 'topic'": (2002, 1000, "MAX_VALUE_BYTES"),
}


def too_large(what: str) -> str:
    """What a workflow hears."""
    size, limit, setting = TOO_LARGE[what]
    sentence = f"{what} is {size} bytes of JSON, and {setting} allows {limit}: keep it elsewhere"
    return f"ValueTooLarge: {sentence}"


TOLD = [*map(too_large, [*TOO_LARGE][-3:])]


def test_what_is_too_large_is_refused_where_it_is_made(heard: Heard) -> None:
    """A result of a step or a child, and whatever a workflow or a step tells; nothing of it is
    stored, and no step is tried again."""
    first, _ = heard["heard"]["narrow, then wide"]

    assert first == [
        *("stored", too_large("the result of the step 'text'")),
        *("stored", too_large("the result of the step 'unhinted'")),
        *("stored", too_large("the result of the workflow 'child'")),
        *("stored", *TOLD, *TOLD),
        "None",
    ]
    assert heard["calls"].count("text") == 4


def test_async_code_hears_the_same(heard: Heard) -> None:
    """Its steps run on an event loop, and what it tells is written in a thread."""
    first, _ = heard["heard"]["async narrow, then wide"]

    assert first == ["stored", too_large("the result of the step 'page'"), *TOLD]


@pytest.mark.parametrize("kind", ["", "async "])
def test_a_replay_hears_what_was_recorded(heard: Heard, kind: str) -> None:
    """Whatever the limit is by then."""
    refused, replayed = heard["heard"][f"{kind}narrow, then wide"]
    stored, still_stored = heard["heard"][f"{kind}wide, then narrow"]

    assert replayed == refused
    assert still_stored == stored
    assert not [each for each in stored if "TooLarge" in each]
