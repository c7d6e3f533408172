"""Chromium and a local_dev for the page."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.processes import local_dev
from tests.project import copy_project

CHROMIUM = Path("/usr/bin/chromium")

expect.set_options(timeout=20_000)  # Milliseconds; a worker may have to be started again.

PHONE = {"width": 360, "height": 740}


@dataclass(frozen=True)
class Site:
    """A running local_dev: where its page is, where its files are."""

    url: str
    project: Path

    @property
    def database(self) -> str:
        """The URL of its database."""
        return f"postgresql://postgres@/postgres?host={self.project / '.local_dev' / 'postgres'}"

    def pid(self, name: str) -> int:
        """The process id of the worker or the functions."""
        return int((self.project / ".local_dev" / f"{name}.pid").read_text())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One local_dev for all tests of the page."""
    project = copy_project(tmp_path_factory.mktemp("site") / "project")
    with local_dev(project) as (_, client):
        yield Site(str(client.base_url), project)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; its absence is a skip on a laptop, a failure in CI."""
    if not CHROMIUM.exists():
        assert not os.environ.get("CI"), f"{CHROMIUM} is needed"
        pytest.skip(f"{CHROMIUM} is not installed")
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """The page, loaded, in a window of its own; an uncaught error fails the test."""
    errors: list[str] = []
    with browser.new_context() as context:
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(site.url)
        yield page
    assert errors == []
