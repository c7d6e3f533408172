"""What a process makes of the seed that all workers share."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from local_dev.bench.proxy import Proxy
from tests.conftest import NewDatabase
from worker.migrate import migrate

PROGRAM = """
import json, os, sys
from worker import hash_seed
hash_seed.READ_SECONDS = 0.5
hash_seed.share_early()
heavy = {"dbos", "sqlalchemy", "pydantic"} & {*sys.modules}
from dataclasses import dataclass
from decimal import Decimal
from worker.values import Form

@dataclass(frozen=True)
class Line:
    sku: str
    price: Decimal

@dataclass
class Order:
    lines: frozenset[Line]
    tags: dict[str, set[bytes]]

lines = [Line(f"sku-{n}", Decimal(n)) for n in range(20)]
order = Order(frozenset(lines), {"tags": {b"tag-%d" % n for n in range(20)}})
form = Form(Order, "a step")
given = form.load(form.dump(order, "a result"))
print(json.dumps({
    "pid": os.getpid(),
    "seed": os.environ.get(hash_seed.VARIABLE),
    "heavy": list(heavy),
    "options": [sys.flags.dev_mode, sys.warnoptions, sys.argv[1:]],
    "given": repr([*given.lines, *given.tags["tags"]]),
    "built": repr({f"sku-{n}" for n in range(20)}),
}))
"""


def executed(root: Path, database: str, *options: str, **environ: str) -> dict[str, Any]:
    """What a process of its own says that shares the seed of a database."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"}
    settings = {"DBOS_SYSTEM_DATABASE_URL": database, **environ}
    process = subprocess.Popen(
        [sys.executable, *options, "-c", PROGRAM, "an argument"],
        cwd=root,
        env=variables | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = process.communicate()
    assert (process.returncode, err) == (0, ""), err
    said: dict[str, Any] = json.loads(out)
    assert said["pid"] == process.pid
    return said


def seed(database: str) -> str:
    """The seed of a database."""
    with psycopg.connect(database) as connection:
        rows = connection.execute("select seed::text from catalog.hash_seed").fetchall()
    ((found,),) = rows
    return str(found)


def test_all_processes_have_the_seed_of_the_database(root: Path, database: str) -> None:
    """So sets have the same order in all, whether they were recorded or made by the code."""
    one, other = executed(root, database), executed(root, database)

    assert one["seed"] == other["seed"] == seed(database)
    assert (one["given"], one["built"]) == (other["given"], other["built"])
    assert one["heavy"] == []


def test_a_process_starts_again_as_it_was_started(root: Path, database: str) -> None:
    """With all options of Python, and its arguments."""
    said = executed(root, database, "-X", "dev", "-W", "ignore")

    assert said["seed"] == seed(database)
    assert said["options"] == [True, ["default", "ignore"], ["an argument"]]


@pytest.mark.parametrize("given", ["7", "0", "random"])
def test_a_seed_that_is_set_is_respected(root: Path, database: str, given: str) -> None:
    """Also one that says that each process is to have another."""
    one, other = (executed(root, database, PYTHONHASHSEED=given) for _ in range(2))

    assert one["seed"] == other["seed"] == given
    assert (one["built"] == other["built"]) is (given != "random")


def test_a_python_that_ignores_its_environment_does_not_start_again(
    root: Path, database: str
) -> None:
    """It would not see the seed."""
    assert executed(root, database, "-E")["seed"] is None


@pytest.mark.parametrize("outage", ["refusing", "frozen"])
def test_without_its_database_a_process_goes_on(root: Path, proxy: Proxy, outage: str) -> None:
    """What is wrong is told by who needs the database, and only once."""
    with getattr(proxy, outage)():
        assert executed(root, proxy.url)["seed"] is None


def test_without_the_table_a_process_goes_on(root: Path, empty_database: str) -> None:
    """A first worker makes it."""
    assert executed(root, empty_database)["seed"] is None


def test_a_seed_stays_and_belongs_to_one_database(
    database: str, new_database: NewDatabase, empty_database: str
) -> None:
    """Copies of a database keep it, since they keep its workflows; others have another."""
    before = seed(database)
    migrate(database)
    migrate(empty_database)
    with psycopg.connect(database) as connection:
        name = str(connection.execute("select current_database()").fetchone()[0])  # type: ignore[index]

    assert seed(database) == before
    assert seed(new_database(name)) == before
    assert seed(empty_database) != before
