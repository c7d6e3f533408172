"""Finding workflows in a package and publishing them."""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from types import ModuleType

import psycopg
import pytest
from dbos import _dbos

from worker import internals
from worker.catalog import Entry, create, publish
from worker.declarations import find_workflows
from worker.errors import (
    BadDeclaration,
    BrokenModule,
    DuplicateWorkflow,
    InexpressibleArgument,
    InexpressibleResult,
    NotAtTheTop,
    UndeclaredQueue,
)

MakePackage = Callable[..., ModuleType]


@pytest.fixture
def make_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> MakePackage:
    """Writes a package of workflow files; returns it, imported."""

    def make(**modules: str) -> ModuleType:
        name = f"package_{abs(hash(request.node.name))}"
        directory = tmp_path / name
        directory.mkdir()
        (directory / "__init__.py").touch()
        for module, source in modules.items():
            (directory / f"{module}.py").write_text(f"from worker import workflow\n{source}")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return import_module(name)

    return make


@pytest.fixture
def names_are_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a worker, with nothing of other tests; afterwards as before."""
    monkeypatch.setattr(_dbos, "_dbos_global_registry", None)
    name = "register_wf_function"
    monkeypatch.setattr(_dbos.DBOSRegistry, name, getattr(_dbos.DBOSRegistry, name))
    internals.refuse_a_name_twice()


def test_every_module_is_found_by_itself(make_package: MakePackage) -> None:
    """Sorted by name; names are the functions' own or given; plain helpers do not count."""
    package = make_package(
        one="@workflow()\ndef zebra(stripes: int) -> int:\n    '''Count.'''\ndef helper(): ...",
        two="@workflow(name='given', queue='report_queue')\nasync def own() -> None: ...",
        three="from .one import zebra",
    )

    entries = find_workflows(package)

    assert [(entry.name, entry.queue, entry.description) for entry in entries] == [
        ("given", "report_queue", ""),
        ("zebra", "task_queue", "Count."),
    ]
    assert entries[1].arguments["required"] == ["stripes"]
    assert entries[1].result == {"type": "integer"}


def test_two_workflows_of_one_name_are_refused(make_package: MakePackage) -> None:
    """The sentence names both functions."""
    package = make_package(
        one="@workflow()\ndef twice() -> None: ...\n@workflow(name='twice')\ndef again(): ..."
    )

    with pytest.raises(DuplicateWorkflow, match=r"'twice': .*:2: .*one\.twice and .*:4: "):
        find_workflows(package)


def test_two_files_with_a_workflow_of_one_name_are_refused(make_package: MakePackage) -> None:
    """DBOS notices this one; the sentence names both files."""
    package = make_package(
        one="@workflow()\ndef twin() -> None: ...", two="@workflow()\ndef twin() -> None: ..."
    )

    with pytest.raises(BrokenModule, match=r"two cannot be loaded: .*one\.py and .*two\.py"):
        find_workflows(package)


@pytest.mark.parametrize(
    "second",
    [
        "@workflow()\ndef twin() -> None: ...",
        "@workflow(name='twin')\ndef other() -> None: ...",
        "@DBOS.workflow(name='twin')\ndef private() -> None: ...",
    ],
)
def test_a_name_that_is_taken_in_the_same_file_is_refused(
    make_package: MakePackage, names_are_taken_once: None, second: str
) -> None:
    """Python and DBOS would keep the second one, without an error."""
    package = make_package(
        one=f"from dbos import DBOS\n@workflow()\ndef twin() -> None: ...\n{second}"
    )

    with pytest.raises(DuplicateWorkflow, match=r"'twin': \S*one\.py:3 and \S*one\.py:5; give"):
        find_workflows(package)


def test_a_workflow_that_is_decorated_twice_is_refused(
    make_package: MakePackage, names_are_taken_once: None
) -> None:
    """Inside of the one that is published there would be a child of the same name."""
    package = make_package(
        one="from dbos import DBOS\n@workflow()\n@DBOS.workflow()\ndef twice() -> None: ..."
    )

    with pytest.raises(BadDeclaration, match=r"one\.py:3: @workflow already is @DBOS\.workflow"):
        find_workflows(package)


def test_steps_of_one_name_are_not_refused(
    make_package: MakePackage, names_are_taken_once: None
) -> None:
    """Two files may each have a step `reserve`."""
    step = "from dbos import DBOS\n@DBOS.step()\ndef reserve() -> None: ..."
    package = make_package(one=step, two=f"{step}\n@workflow()\ndef job() -> None: ...")

    entries = find_workflows(package)

    assert [entry.name for entry in entries] == ["job"]


@pytest.mark.parametrize(
    ("source", "line", "error"),
    [
        ("def (:", 2, "SyntaxError: invalid syntax"),
        ("import missing_module", 2, "ModuleNotFoundError: No module"),
        ("\nundefined", 3, "NameError: name 'undefined'"),
        ("\n\nimport json\njson.loads('{')", 5, "JSONDecodeError: Expecting property name"),
        ("raise ValueError('one\\ntwo')", 2, "ValueError: one"),
        ("raise SystemExit(3)", 2, "SystemExit: 3"),
    ],
)
def test_a_broken_file_is_named_with_its_line(
    make_package: MakePackage, source: str, line: int, error: str
) -> None:
    """In one sentence, whatever it raises, as people save files that are half written."""
    package = make_package(half_written=source)

    with pytest.raises(BrokenModule) as raised:
        find_workflows(package)

    place = f"{Path(str(package.__file__)).parent / 'half_written.py'}:{line}"
    said = f"{place}: {package.__name__}.half_written cannot be loaded: {error}"
    assert str(raised.value).startswith(said)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        ("@workflow\ndef job() -> None: ...", "needs parentheses: @workflow()"),
        ("@workflow('task_queue')\ndef job() -> None: ...", "takes named options only"),
        (
            "@workflow(quue='task_queue')\ndef job(): ...",
            "has no option 'quue'; did you mean queue?",
        ),
        (
            "@workflow(retries=3)\ndef job() -> None: ...",
            "has no option 'retries'; it knows queue,",
        ),
        ("@workflow(queue=object())\ndef job() -> None: ...", "needs the name of a queue"),
        ("@workflow(name='a/b')\ndef job() -> None: ...", "cannot publish the name 'a/b'"),
        ("@workflow(name='')\ndef job() -> None: ...", "cannot publish the name ''"),
        ("@workflow(signals=['go'])\ndef job() -> None: ...", "needs the type of each signal"),
        ("@workflow(signals={1: bool})\ndef job() -> None: ...", "needs the type of each signal"),
        ("@workflow(signals={'go': {}})\ndef job() -> None: ...", "needs the type of each signal"),
        ("@workflow()\nclass Job: ...", "decorates a function, and this is a class"),
        (
            "@workflow()\n@staticmethod\ndef job(): ...",
            "decorates a function, and this is a static",
        ),
        ("job = workflow()(lambda: 1)", "decorates a function that def has given a name"),
        ("@workflow()\ndef job():\n  yield 1", "decorates a function that returns its result"),
        (
            "@workflow()\nasync def job():\n  yield 1",
            "decorates a function that returns its result",
        ),
    ],
)
def test_a_decorator_that_is_misused_is_named_with_its_line(
    make_package: MakePackage, declared: str, problem: str
) -> None:
    """One sentence says what to write instead."""
    package = make_package(one=f"\n{declared}")

    with pytest.raises(BadDeclaration) as raised:
        find_workflows(package)

    place = f"{Path(str(package.__file__)).parent / 'one.py'}:3"
    assert str(raised.value).startswith(f"{place}: @workflow {problem}")
    assert "\n" not in str(raised.value)


def test_a_workflow_inside_a_class_is_refused(make_package: MakePackage) -> None:
    """It would not be found."""
    package = make_package(
        one="class Jobs:\n  @staticmethod\n  @workflow()\n  def job() -> None: ..."
    )

    with pytest.raises(NotAtTheTop, match=r"one\.Jobs\.job: "):
        find_workflows(package)


def test_an_undeclared_queue_is_refused(make_package: MakePackage) -> None:
    """Its workflows would wait for ever."""
    package = make_package(one="@workflow(queue='nowhere')\ndef waits() -> None: ...")

    with pytest.raises(UndeclaredQueue, match=r"one\.py:2: .*one\.waits: the queue 'nowhere'"):
        find_workflows(package)


def test_a_result_of_a_type_that_is_misspelt_is_refused(make_package: MakePackage) -> None:
    """Python itself looks at it only when somebody asks."""
    package = make_package(one="@workflow()\ndef gives(n: int) -> 'Reslt': ...")

    with pytest.raises(InexpressibleResult, match=r"one\.gives: its return type"):
        find_workflows(package)


def test_an_inexpressible_argument_is_refused(make_package: MakePackage) -> None:
    """Before anything is started."""
    package = make_package(one="@workflow()\ndef odd(fine: int, f: type(print)) -> None: ...")

    with pytest.raises(InexpressibleArgument, match=r"one\.odd: the parameter 'f'"):
        find_workflows(package)


def names(database: str, application: str) -> list[str]:
    """What is published."""
    query = "select name from catalog.workflows where application = %s order by name"
    with psycopg.connect(database) as connection:
        return [name for (name,) in connection.execute(query, (application,))]


def entries(*names: str) -> list[Entry]:
    """Workflows without arguments."""
    return [Entry(name, "task_queue", "", {"type": "object"}, {}) for name in names]


def test_publishing_replaces_what_the_application_had(database: str) -> None:
    """And leaves that of others alone."""
    for application, listed in [("a", ("x", "y")), ("b", ("x",)), ("a", ("y", "z"))]:
        with psycopg.connect(database) as connection:
            publish(connection, entries(*listed), application=application, version="1")

    assert names(database, "a") == ["y", "z"]
    assert names(database, "b") == ["x"]


def test_workers_that_start_together_publish_safely(database: str) -> None:
    """Each creates the catalog if it is missing; they take turns."""
    with psycopg.connect(database) as owner:
        owner.execute("drop schema catalog cascade")

    def start() -> None:
        with psycopg.connect(database) as connection:
            create(connection)
            publish(connection, entries("x", "y"), application="a", version="1")

    with ThreadPoolExecutor(8) as workers:
        started = [workers.submit(start) for _ in range(8)]

    assert [each.exception() for each in started] == [None] * 8
    assert names(database, "a") == ["x", "y"]
