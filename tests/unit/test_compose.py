"""`local_dev/compose.yaml`: what its schema says, and what no schema can know."""

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from ruamel.yaml import YAML

from functions.settings import Settings as FunctionsSettings
from tests.project import ROOT
from tests.settings import unread
from worker.settings import Settings as WorkerSettings

FILE = ROOT / "local_dev" / "compose.yaml"


@pytest.fixture(scope="module")
def compose() -> Any:
    """The file's content, with what it merges."""
    return YAML(typ="safe").load(FILE)


@pytest.fixture(scope="module")
def services(compose: Any) -> Any:
    """Its services by their names."""
    return compose["services"]


def test_it_is_what_compose_understands() -> None:
    """By the schema of the Compose specification."""
    command = [sys.executable, "-m", "check_jsonschema"]
    done = subprocess.run(
        [*command, "--builtin-schema=vendor.compose-spec", FILE], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("service", "settings"),
    [
        ("worker", WorkerSettings),
        ("migrate", WorkerSettings),
        ("functions", FunctionsSettings),
    ],
)
def test_every_setting_is_one_that_is_read(
    services: Any, service: str, settings: type[WorkerSettings] | type[FunctionsSettings]
) -> None:
    """With a value that the deployable accepts."""
    assert unread(settings, services[service]["environment"]) == set()


def test_workers_do_not_migrate_and_reach_postgres_itself(services: Any) -> None:
    """A pooler in transaction mode would hand out one lease to many."""
    settings = WorkerSettings.from_env(services["worker"]["environment"])

    assert urlsplit(settings.database_url).hostname == "postgres"
    assert not settings.migrate


def test_functions_reach_postgres_through_pgbouncer_in_transaction_mode(services: Any) -> None:
    """As a crowd of instances has to."""
    pgbouncer, url = services["pgbouncer"]["environment"], database(services["functions"])

    assert url.hostname == "pgbouncer"
    assert pgbouncer["POOL_MODE"] == "transaction"
    assert pgbouncer["DB_HOST"] == "postgres"
    assert (pgbouncer["DB_USER"], pgbouncer["DB_PASSWORD"]) == (url.username, url.password)
    assert pgbouncer["DB_NAME"] == url.path.removeprefix("/")


def test_the_roles_are_created_and_granted_what_they_need(compose: Any, services: Any) -> None:
    """With the passwords that workers and functions have, in the database that they use."""
    created = re.findall(
        r"create role (\w+) login password '(\w+)';", compose["configs"]["roles"]["content"]
    )
    urls = {name: database(services[name]) for name in ("worker", "functions")}
    owner = database(services["migrate"])

    assert created == [(url.username, url.password) for url in urls.values()]
    assert services["migrate"]["command"] == [
        *["python", "-m", "worker", "migrate"],
        *(f"--{name}-role={url.username}" for name, url in urls.items()),
    ]
    assert owner.password == services["postgres"]["environment"]["POSTGRES_PASSWORD"]
    assert {url.path for url in [owner, *urls.values()]} == {
        f"/{services['postgres']['environment']['POSTGRES_DB']}"
    }


def test_nobody_is_killed_while_it_drains(services: Any) -> None:
    """The time to stop is longer than what each takes at most."""
    drain = WorkerSettings.from_env(services["worker"]["environment"]).drain_timeout
    dockerfile = (ROOT / "functions" / "Dockerfile").read_text()
    graceful = re.search("UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN=([0-9]+)", dockerfile)

    assert graceful
    assert grace(services["worker"]) >= drain + 5
    assert grace(services["functions"]) > int(graceful[1])


def test_nothing_starts_before_what_it_needs(services: Any) -> None:
    """Who waits for health waits for somebody who says how to check it."""
    waits = {name: set(waits_for(service)) for name, service in services.items()}

    assert ("migrate", "service_completed_successfully") in waits["worker"] & waits["functions"]
    assert ("pgbouncer", "service_healthy") in waits["functions"]
    assert all(
        "test" in services[name]["healthcheck"]
        for each in waits.values()
        for name, condition in each
        if condition == "service_healthy"
    )


@pytest.mark.parametrize("service", ["migrate", "worker", "functions"])
def test_our_images_may_do_nothing_that_they_need_not(services: Any, service: str) -> None:
    """A read-only root, no capabilities, no way to get any."""
    confined = services[service]

    assert confined["read_only"]
    assert confined["cap_drop"] == ["ALL"]
    assert confined["security_opt"] == ["no-new-privileges:true"]


def test_only_the_functions_are_published_and_only_to_this_machine(services: Any) -> None:
    """They ask nobody who they are."""
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}

    assert ports == {"functions": ["127.0.0.1:8080:8080"]}


def test_images_are_pinned_or_built_from_this_project(services: Any) -> None:
    """To a version, not to a name that moves; and each is built once, since two would collide."""
    builds = [(each["image"], each["build"]) for each in services.values() if "build" in each]
    others = {each["image"] for each in services.values()} - {image for image, _ in builds}

    assert len(builds) == len(dict(builds)) == 2
    for _, build in builds:
        assert (FILE.parent / build["context"] / build["dockerfile"]).resolve().exists()
        assert (FILE.parent / build["context"]).resolve() == ROOT
    assert [image for image in others if not re.search(r":v?[0-9]+\.[0-9]+", image)] == []


def database(service: Any) -> Any:
    """The parts of a service's database URL."""
    return urlsplit(service["environment"]["DBOS_SYSTEM_DATABASE_URL"])


def grace(service: Any) -> int:
    """How many seconds a service has to stop."""
    return int(service["stop_grace_period"].removesuffix("s"))


def waits_for(service: Any) -> Iterator[tuple[str, str]]:
    """What a service waits for, and until when."""
    for name, how in service.get("depends_on", {}).items():
        yield name, how["condition"]
