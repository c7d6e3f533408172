"""What is said, and raised, when an exception is stored."""

import sys
from types import ModuleType
from typing import Any

import pytest
from dbos import DBOSPortableJSONSerializer, PortableWorkflowError
from dbos._serialization import DefaultSerializer, deserialize_exception, serialize_exception

from worker.failures import alike, deserialized, original, serialized

JSON = DBOSPortableJSONSerializer()

original_of_dbos: Any = getattr(serialize_exception, "__wrapped__", serialize_exception)


def local() -> Exception:
    class Local(Exception):
        pass

    return Local("local")


def test_what_cannot_be_found_is_said_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """With the class in question."""
    serialized(original_of_dbos)(local(), None, JSON)

    assert "the class local.<locals>.Local" in caplog.text


def test_what_was_imported_after_the_start_is_said_at_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker may not have imported it when it replays."""
    serialize = serialized(original_of_dbos)
    module = ModuleType("imported_late")
    kind: type[Exception] = type("Late", (Exception,), {"__module__": "imported_late"})
    module.Late = kind  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "imported_late", module)

    serialize(ValueError("early"), None, JSON)
    before = caplog.text
    serialize(kind("late"), None, JSON)

    assert before == ""
    assert "Late is defined in imported_late" in caplog.text


def test_other_formats_are_left_to_dbos() -> None:
    """Also portable rows of an application that pickles."""
    pickles = DefaultSerializer()
    read: Any = getattr(deserialize_exception, "__wrapped__", deserialize_exception)

    text, name = serialized(original_of_dbos)(ValueError("x"), "portable_json", pickles)

    assert name == "portable_json"
    assert "python" not in text
    assert type(deserialized(read)(text, "portable_json", pickles)) is PortableWorkflowError
    assert serialized(original_of_dbos)(ValueError("x"), None, pickles)[1] == "py_pickle"


def test_only_what_was_stored_last_is_raised_otherwise() -> None:
    """What DBOS itself raises meanwhile passes."""
    error, other = local(), local()

    def stores(first: Exception, raised: Exception) -> None:
        serialized(original_of_dbos)(first, None, JSON)
        raise raised

    with pytest.raises(PortableWorkflowError, match="local") as stored:
        alike(stores)(error, error)
    with pytest.raises(type(other)):
        alike(stores)(error, other)

    assert stored.value.__context__ is error


def test_outside_of_workflows_it_is_what_was_raised() -> None:
    """What stands for it leads back to it; other errors stay."""
    error = local()

    def stores() -> None:
        serialized(original_of_dbos)(error, None, JSON)
        raise error

    def other() -> None:
        try:
            raise KeyError("first")
        except KeyError:
            raise PortableWorkflowError("second", "Second")  # noqa: B904

    with pytest.raises(type(error)) as raised:
        original(alike(stores))()
    with pytest.raises(PortableWorkflowError, match="second"):
        original(other)()

    assert raised.value is error


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()])
def test_what_is_no_exception_passes(error: BaseException) -> None:
    """DBOS stops workflows with such."""

    def stops() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        alike(original(stops))()

    assert raised.value is error
