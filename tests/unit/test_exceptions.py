"""What is stored of an exception, and what a replay makes of it."""

import asyncio
import inspect
import json
import math
import socket
import sys
import types
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pydantic
import pytest
from dbos import DBOSPortableJSONSerializer, PortableWorkflowError
from dbos import error as dbos_error
from dbos._serialization import exception_to_workflow_error_data
from sqlalchemy.exc import IntegrityError

from worker.errors import DuplicateWorkflow, WorkerError
from worker.exceptions import LARGEST_CHARACTERS, replayed, stored


class OutOfStock(Exception):
    """What `__init__` takes is kept as attributes; the message is made of them."""

    def __init__(self, item: str, ordered: int, *, price: Decimal) -> None:
        super().__init__(f"{ordered} of {item} ordered")
        self.item = item
        self.ordered = ordered
        self.price = price


class Reason(Enum):
    EXPIRED = "expired"
    STOLEN = "stolen"


class Level(IntEnum):
    HIGH = 3


@dataclass
class Declined(Exception):
    reason: Reason
    at: datetime
    retry: tuple[int, ...] = (1, 2)

    def __str__(self) -> str:
        return f"{self.reason.value} at {self.at:%H:%M}"


@dataclass(frozen=True)
class Frozen(Exception):
    code: int


class Slotted(Exception):
    __slots__ = ("a", "b", "c")

    def __init__(self, a: int, b: Any) -> None:
        self.a = a
        self.b = b


class Empty(Exception):
    def __init__(self, items: list[object]) -> None:
        super().__init__("empty")
        self.items = items

    def __len__(self) -> int:
        return len(self.items)


class Outer:
    class Inner(Exception):
        pass


class Unreadable(OSError):
    def __init__(self, path: str) -> None:
        super().__init__(13, "may not be read", path)
        self.path = path


class ArgsHidden(Exception):
    args = property(lambda self: ("hidden",))


class Particular(Exception):
    """Made by nobody but itself."""

    def __new__(cls, key: str, *args: Any) -> "Particular":
        if key != "secret":
            raise TypeError("only with the key")
        return super().__new__(cls, "said", *args)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("nothing can be set")


class Item(pydantic.BaseModel):
    sku: str
    price: Decimal


@dataclass
class Parcel:
    weight: float


class Refused(Exception):
    """Its attributes have the hints of `__init__`."""

    def __init__(self, item: Item, others: list[Item], parcel: Parcel | None = None) -> None:
        super().__init__(item, "refused")
        self.item = item
        self.others = others
        self.parcel = parcel


@dataclass
class Damaged(Exception):
    """Its attributes have hints, and are its arguments."""

    parcel: Parcel
    item: Item | None = None


class Model(pydantic.BaseModel):
    number: int
    name: str

    @pydantic.field_validator("name")
    @classmethod
    def check(cls, name: str) -> str:
        raise ValueError("no name")


def raised(function: Callable[[], Any]) -> Exception:
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def chained() -> None:
    try:
        raise KeyError("cause")
    except KeyError as error:
        raise ValueError("effect") from error


def noted() -> None:
    error = ValueError("noted")
    error.add_note("a note")
    raise error


def dbos_errors() -> Iterator[Exception]:
    """One of each class of dbos."""
    for _, kind in inspect.getmembers(dbos_error, inspect.isclass):
        if issubclass(kind, Exception):
            parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
            yield kind(*[3 if each.annotation in (int, float) else "x" for each in parameters])


ALIKE = [
    ValueError("plain"),
    ValueError(),
    KeyError("key"),
    KeyError(("a", 1)),
    LookupError("several", 2, None, True, 1.5, -0.0, 2**70, [1, {"a": []}]),
    OSError("plain"),
    OSError(2, "No such file", "/nowhere"),
    FileNotFoundError(2, "No such file", "/from", None, "/to"),
    ConnectionResetError(104, "reset by peer"),
    TimeoutError(),
    socket.gaierror(-2, "Name or service not known"),
    raised(lambda: Path("/nowhere").read_text()),
    raised(lambda: b"\xff".decode()),
    raised(lambda: "\ud800".encode()),
    raised(lambda: json.loads("{")),
    raised(lambda: __import__("nowhere")),
    raised(lambda: None.nothing),  # type: ignore[attr-defined]
    raised(lambda: compile("a b", "file", "exec")),
    raised(lambda: Decimal("x")),
    raised(lambda: Model.model_validate({"number": "x", "name": "y"})),
    raised(chained),
    raised(noted),
    ExceptionGroup("group", [ValueError(1), ExceptionGroup("inner", [KeyError(2)])]),
    asyncio.IncompleteReadError(b"\x00\xff", 3),
    pydantic.PydanticUserError("message", code="base-model-instantiated"),
    psycopg.errors.UniqueViolation("duplicate", encoding="utf-8"),
    IntegrityError("insert", {"a": 1}, psycopg.errors.UniqueViolation("duplicate")),
    OutOfStock("book", 3, price=Decimal("1.10")),
    Declined(Reason.STOLEN, datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
    Frozen(7),
    Refused(Item(sku="a", price=Decimal("1.10")), [Item(sku="b", price=Decimal(2))], Parcel(1.5)),
    Damaged(Parcel(1.5), Item(sku="a", price=Decimal(1))),
    Slotted(1, None),
    Outer.Inner("nested"),
    Empty([]),
    Unreadable("/etc/shadow"),
    ArgsHidden("shown"),
    Particular("secret"),
    DuplicateWorkflow(name="a", first="b", second="c"),
    WorkerError(),
    PortableWorkflowError("message", "FromElsewhere", 409, {"a": [1]}),
    ValueError(date(2026, 1, 2), timedelta(1, 2, 3), uuid.UUID(int=7), b"\xff", Path("a"), int),
    ValueError(Level.HIGH, Reason.EXPIRED, {1, 2}, frozenset("a"), {1: "one"}, math.inf),
    ValueError({"tuple": [1]}, {"exception": {}}, "\ud800 \0"),
    *dbos_errors(),
]


def each(errors: list[Exception]) -> pytest.MarkDecorator:
    """A test for each error, named by its class."""
    ids = [f"{type(error).__qualname__}-{number}" for number, error in enumerate(errors)]
    return pytest.mark.parametrize("error", errors, ids=ids)


@each(ALIKE)
def test_a_replay_raises_the_same(error: Exception) -> None:
    """The same class, arguments, attributes, fields, cause, and it says the same."""
    text, first, lost = stored(error)

    later = replayed(json.loads(text))

    assert (first is error, lost) == (True, [])
    assert seen(later) == seen(error)


def test_the_errors_of_a_retried_step_are_kept() -> None:
    """Each as itself, what it was raised from included."""
    errors = [raised(chained), OutOfStock("book", 3, price=Decimal(1))]
    error = dbos_error.DBOSMaxStepRetriesExceeded("reserve", 2, errors)

    later = replayed(json.loads(stored(error).text))

    assert isinstance(later, dbos_error.DBOSMaxStepRetriesExceeded)
    assert str(later) == str(error)
    assert [seen(each) for each in later.errors] == [seen(each) for each in errors]


def test_what_a_database_says_of_an_error_is_kept(server: str) -> None:
    """psycopg keeps it in the result of a statement, which cannot be stored."""
    with psycopg.connect(server, autocommit=True) as connection:
        error = raised(lambda: connection.execute("select 1 / 0"))

    later = replayed(json.loads(stored(error).text))

    assert isinstance(later, psycopg.errors.DivisionByZero)
    assert (str(later), later.diag.sqlstate) == ("division by zero", "22012")


class Changing(Exception):
    def __init__(self, message: str, connection: Any) -> None:
        super().__init__(message)
        self.connection = connection


REQUEST = httpx2.Request("GET", "http://nowhere/")


def interrupted() -> None:
    raise ValueError("stopped") from KeyboardInterrupt()


DIFFERENT = [
    raised(interrupted),
    Damaged(object()),  # type: ignore[arg-type]
    Changing("cut", Parcel(1.5)),
    Changing("cut", object()),
    httpx2.ConnectError("no route", request=REQUEST),
    raised(lambda: httpx2.Response(404, request=REQUEST).raise_for_status()),
    ValueError(object()),
    ValueError([type("Local", (), {})]),
    ValueError(type("Text", (str,), {})("text")),
    ValueError("x" * (LARGEST_CHARACTERS - len("('', 1)")), 1),
]


@each(DIFFERENT)
def test_what_cannot_be_kept_is_its_text_from_the_first_execution_on(error: Exception) -> None:
    """The class stays, and what the error says; what was changed is told."""
    text, first, lost = stored(error)

    later = replayed(json.loads(text))

    assert type(first) is type(error)
    assert str(first) == str(error) or type(error.args[0]) is not str or len(error.args) > 1
    assert first is not error
    assert lost
    assert seen(later) == seen(first)
    assert stored(first).replayed is first


def local() -> Exception:
    class Local(Exception):
        pass

    return Local("local")


def elsewhere() -> Exception:
    kind: type[Exception] = type("OutOfStock", (Exception,), {"__module__": __name__})
    return kind("not the one of the module")


def vanished() -> Exception:
    kind: type[Exception] = type("Vanished", (ValueError,), {"__module__": "of.nobody"})
    return kind("vanished")


def in_main() -> Exception:
    kind: type[Exception] = type("InMain", (ValueError,), {"__module__": "__main__"})
    sys.modules["__main__"].InMain = kind  # type: ignore[attr-defined]
    return kind("main")


class Mute(Exception):
    """What it says needs what cannot be kept."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket

    def __str__(self) -> str:
        return f"fd {self.socket.fileno()}"


def mute() -> Exception:
    with socket.socket() as open_socket:
        return Mute(open_socket)


@pytest.mark.parametrize("make", [local, elsewhere, vanished, in_main, StopIteration, mute])
def test_a_class_that_cannot_be_found_is_portable_from_the_first_execution_on(
    make: Callable[[], Exception],
) -> None:
    """It has the name and says the same."""
    error = make()

    text, first, lost = stored(error)

    assert isinstance(first, PortableWorkflowError)
    assert (first.name, str(first)) == (type(error).__name__, str(error))
    assert lost
    assert seen(replayed(json.loads(text))) == seen(first)
    assert stored(first).replayed is first
    assert json.loads(stored(first).text)["name"] == type(error).__name__


@each(
    [
        OutOfStock("book", 3, price=Decimal(1)),
        OSError(2, "No such file"),
        local(),
        PortableWorkflowError("message", "PortableWorkflowError", "code", {"a": 1}),
        *DIFFERENT,
    ]
)
def test_other_languages_read_what_dbos_writes(error: Exception) -> None:
    """Name, message, code and data; one member is added."""
    record = json.loads(stored(error).text)
    without = {name: value for name, value in record.items() if name != "python"}

    assert without == exception_to_workflow_error_data(error)
    assert record.keys() - without.keys() == {"python"}


class Endless(Exception):
    def __init__(self) -> None:
        self.itself = self
        self.list: list[Any] = []
        self.list.append(self.list)
        self.data = self.list


class Broken(Exception):
    code = math.nan
    data = math.nan

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no")


class BrokenText:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class NotANumber(Exception):
    data = math.nan


@each(
    [
        Endless(),
        Broken(),
        NotANumber("x"),
        ValueError(BrokenText()),
        Changing("x", BrokenText()),
        Changing("x", 10**5000),
        ValueError("x" * 10_000_000),
        Changing("x", "x" * 10_000_000),
        Changing("x", [object()] * 100_000),
        dbos_error.DBOSMaxStepRetriesExceeded("x", 100, [ValueError("x" * 9_000)] * 100),
    ]
)
def test_whatever_an_exception_is_it_is_stored(error: Exception) -> None:
    """Never an error in its place, and not much more than its message."""
    text, first, _ = stored(error)

    assert len(text) < 2 * LARGEST_CHARACTERS + len(json.loads(text)["message"])
    assert seen(replayed(json.loads(text))) == seen(first)
    assert json.loads(stored(first).text)["message"] == json.loads(text)["message"]


def test_of_too_many_errors_the_last_is_kept() -> None:
    """A step that was retried a hundred times has a hundred."""
    errors = [ValueError(f"{number}" + "x" * 9_000) for number in range(100)]

    first = stored(dbos_error.DBOSMaxStepRetriesExceeded("x", 100, errors)).replayed  # type: ignore[arg-type]

    assert isinstance(first, dbos_error.DBOSMaxStepRetriesExceeded)
    assert list(map(str, first.errors)) == [str(errors[-1])]


CALLED: list[Any] = []


class Meta(type):
    def __call__(cls, *args: Any, **options: Any) -> Any:
        CALLED.append(cls)
        return super().__call__(*args, **options)

    def __getattribute__(cls, name: str) -> Any:
        CALLED.append(name)
        return super().__getattribute__(name)


class Watched(Exception, metaclass=Meta):
    def __new__(cls, *args: Any) -> "Watched":
        CALLED.append("__new__")
        return super().__new__(cls, *args)

    def __init__(self, *args: Any) -> None:
        CALLED.append("__init__")

    def __setattr__(self, name: str, value: Any) -> None:
        CALLED.append(name)

    @property
    def opened(self) -> None:
        CALLED.append("opened")

    @opened.setter
    def opened(self, value: Any) -> None:
        CALLED.append("opened")


class Proxy(types.ModuleType):
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        CALLED.append("__class__")
        return type

    def __getattr__(self, name: str) -> Any:
        CALLED.append(name)


PROXY = Proxy("proxy")


def test_nothing_of_a_class_is_called() -> None:
    """No method, no metaclass, no property."""
    CALLED.clear()
    python = {"module": __name__, "qualname": "Watched", "attributes": {"opened": 1, "a": 2}}

    error = replayed({"name": "x", "message": "said", "python": python})

    assert CALLED == []
    assert type(error) is Watched
    assert (str(error), vars(error)) == ("said", {"opened": 1, "a": 2})


HOSTILE: list[dict[str, Any]] = [
    {"module": "builtins", "qualname": "eval", "args": ["CALLED.append(1)"]},
    {"module": "os", "qualname": "system", "args": ["touch /tmp/hostile"]},
    {"module": "builtins", "qualname": "SystemExit"},
    {"module": "builtins", "qualname": "KeyboardInterrupt"},
    {"module": "builtins", "qualname": "BaseException"},
    {"module": "builtins", "qualname": "StopIteration"},
    {"module": "dbos._error", "qualname": "DBOSWorkflowCancelledError"},
    {"module": "asyncio", "qualname": "CancelledError"},
    {"module": "subprocess", "qualname": "Popen", "args": ["true"]},
    {"module": "builtins", "qualname": "type", "args": ["x", {"tuple": []}, {"dict": {}}]},
    {"module": "builtins", "qualname": "object.__subclasses__"},
    {"module": "antigravity", "qualname": "Error"},
    {"module": "xmlrpc.client", "qualname": "Fault"},
    {"module": __name__, "qualname": "PROXY.anything"},
    {"module": __name__, "qualname": "Watched.opened"},
    {"module": __name__, "qualname": "Watched.__class__"},
    {"module": __name__, "qualname": ""},
    {"module": None, "qualname": None},
    {"module": [], "qualname": {}},
    {},
    {"module": "builtins", "qualname": "ValueError", "args": 1},
    {"module": "builtins", "qualname": "ValueError", "args": [{"a": 1, "b": 2}]},
    {"module": "builtins", "qualname": "ValueError", "args": [{"enum": ["os", "system", "x"]}]},
    {"module": "builtins", "qualname": "ValueError", "args": [{"class": ["os", "system"]}]},
    {"module": "builtins", "qualname": "ValueError", "attributes": []},
    {"module": "builtins", "qualname": "ValueError", "attributes": {"a": {"hinted": 1}}},
    {"module": __name__, "qualname": "Damaged", "attributes": {"parcel": {"hinted": "x"}}},
    {"module": "builtins", "qualname": "ValueError", "args": [{"attribute": "a"}]},
    {"module": "builtins", "qualname": "ValueError", "cause": 1},
    {"module": "builtins", "qualname": "ValueError", "args": [{"set": [[1]]}]},
    {
        "module": "builtins",
        "qualname": "UnicodeDecodeError",
        "args": ["utf-8", {"bytes": "YQ=="}, -(2**40), -(2**40) + 1, "x"],
    },
    {"module": "builtins", "qualname": "UnicodeDecodeError", "args": [1, 2, 3, 4, 5]},
    {"module": "builtins", "qualname": "ExceptionGroup", "args": ["x", [1]]},
]


@pytest.mark.parametrize("python", HOSTILE, ids=range(len(HOSTILE)))
def test_a_row_that_names_anything_else_gives_a_portable_error(python: dict[str, Any]) -> None:
    """Nothing is imported, nothing is called."""
    CALLED.clear()
    before = set(sys.modules)

    error = replayed({"name": "Hostile", "message": "said", "python": python})

    assert (type(error), str(error)) == (PortableWorkflowError, "said")
    assert (CALLED, set(sys.modules) - before) == ([], set())


def test_fields_that_would_crash_are_plain_attributes() -> None:
    """What has no bytes cannot say at which byte it failed."""
    args = ["utf-8", {"bytes": "YQ=="}, 0, 1, "x"]
    python = {
        "module": "builtins",
        "qualname": "UnicodeDecodeError",
        "args": args,
        "attributes": {"object": 1, "start": 2**40},
    }

    error = replayed({"name": "x", "message": "x", "python": python})

    assert str(error) == "'utf-8' codec can't decode byte 0x61 in position 0: x"


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        ({"name": "ValueError", "message": "said", "code": None}, ValueError),
        ({"name": "Exception", "message": "said", "code": None}, Exception),
        ({"name": "TimeoutError", "message": "said", "code": None}, TimeoutError),
        ({"name": "TypeError", "message": "said"}, PortableWorkflowError),
        ({"name": "KeyError", "message": "'said'", "code": None}, PortableWorkflowError),
        ({"name": "FileNotFoundError", "message": "said", "code": 2}, PortableWorkflowError),
        ({"name": "ValueError", "message": "said", "code": None, "data": 1}, PortableWorkflowError),
        ({"name": "OutOfStock", "message": "said", "code": None}, PortableWorkflowError),
        ({"name": "SystemExit", "message": "said", "code": None}, PortableWorkflowError),
        ({"name": "StopIteration", "message": "said", "code": None}, PortableWorkflowError),
        ({"name": "eval", "message": "said", "code": None}, PortableWorkflowError),
        ({"name": "UnicodeDecodeError", "message": "", "code": None}, PortableWorkflowError),
    ],
    ids=range(12),
)
def test_rows_of_the_release_before_give_what_their_name_says_for_sure(
    record: dict[str, Any], kind: type
) -> None:
    """Classes of Python itself; other languages have a TypeError, too."""
    error = replayed(record)

    assert (type(error), str(error)) == (kind, record["message"])


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x" * 10**7),
        PortableWorkflowError("x" * 10**7, "y" * 10**7, "z" * 10**7, {"data": ["d" * 10**7]}),
        PortableWorkflowError("said", "name", data=[math.nan, "d" * 10**7]),
    ],
    ids=["message", "all members", "data that is no JSON"],
)
def test_no_member_of_what_is_stored_is_larger_than_a_message(error: Exception) -> None:
    """It is shortened, also for the code that catches it first; its name says what it is."""
    text, again, lost = stored(error)

    record = json.loads(text)
    assert all(len(str(value)) <= LARGEST_CHARACTERS for value in record.values())
    assert record["message"].startswith(str(error)[:1000])
    assert (type(again), str(again)) == (type(error), record["message"])
    assert again is not error
    assert lost
    assert json.loads(stored(again).text)["message"] == record["message"]


def test_what_is_stored_is_portable_json() -> None:
    """DBOS's own serializer reads it."""
    text = stored(OutOfStock("book", 3, price=Decimal(1))).text

    assert DBOSPortableJSONSerializer().deserialize(text) == json.loads(text)


def seen(error: BaseException | None) -> Any:
    """Whatever code that catches an exception may look at."""
    if error is None:
        return None
    attributes = vars(BaseException)["__dict__"].__get__(error)
    fields = ("errno", "filename", "filename2", "name", "lineno", "start", "object", "a", "b", "c")
    return (
        type(error),
        said(error),
        repr(vars(BaseException)["args"].__get__(error)),
        {name: shown(value) for name, value in attributes.items()},
        [shown(get(error, name)) for name in fields],
        [seen(each) for each in getattr(error, "exceptions", ())],
        seen(error.__cause__),
    )


def shown(value: Any) -> Any:
    return seen(value) if isinstance(value, BaseException) else (type(value), said(value))


def said(value: Any) -> str:
    try:
        return repr(value) if not isinstance(value, BaseException) else str(value)
    except RuntimeError:
        return "nothing"


def get(error: BaseException, name: str) -> Any:
    try:
        return getattr(error, name)
    except AttributeError:
        return "unset"
