"""Chromium and a local_dev for the page."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from local_dev.bench.processes import DEADLINE
from tests.processes import local_dev
from tests.project import add_partitioned, copy_project

CHROMIUM = Path("/usr/bin/chromium")

expect.set_options(timeout=1000 * DEADLINE)  # Milliseconds.

PHONE = {"width": 360, "height": 740}


@dataclass(frozen=True)
class Site:
    """A running local_dev: where its page is, where its files are."""

    url: str
    project: Path

    def launch(self, path: str, body: Any) -> list[str]:
        """Launch as another client would, `path` with query; returns the workflow ids."""
        answer = httpx2.post(f"{self.url}/launch/{path}", json=body, timeout=DEADLINE)
        assert answer.status_code == 202, answer.text
        made = answer.json()
        return [each["workflow_id"] for each in made.get("workflows", [made])]

    def cancel(self, *workflow_ids: str) -> None:
        """Cancel as another client would."""
        for workflow_id in workflow_ids:
            answer = httpx2.post(f"{self.url}/cancel/{workflow_id}", timeout=DEADLINE)
            assert answer.status_code == 202, answer.text

    def pid(self, name: str) -> int:
        """The process id of the worker or the functions."""
        return int((self.project / ".local_dev" / f"{name}.pid").read_text())


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One local_dev for all tests of the page."""
    project = copy_project(tmp_path_factory.mktemp("site") / "project")
    add_partitioned(project)
    with local_dev(project) as (_, client):
        yield Site(str(client.base_url), project)


@pytest.fixture(scope="session")
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
def blank(browser: Browser) -> Iterator[Page]:
    """A window of its own, nothing loaded; an uncaught error fails the test."""
    errors: list[str] = []
    with browser.new_context() as context:
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
    assert errors == []


@pytest.fixture
def page(blank: Page, site: Site) -> Page:
    """The page, loaded, in a window of its own."""
    blank.goto(site.url)
    return blank


def submit(page: Page, workflow: str, **arguments: str) -> None:
    """Fill in the form and press the button."""
    choice = page.get_by_label("Workflow", exact=True)
    expect(choice).to_contain_text(workflow)
    if choice.input_value() != workflow:
        choice.select_option(workflow)
    for name, value in arguments.items():
        page.locator("#launch").get_by_label(name).fill(value)
    page.get_by_role("button", name="Launch").click()


def launch(page: Page, workflow: str, **arguments: str) -> Locator:
    """Launch with the form; returns the row of the run."""
    with page.expect_response(lambda response: "/launch/" in response.url) as answer:
        submit(page, workflow, **arguments)
    return row(page, answer.value.json()["workflow_id"])


def row(page: Page, workflow_id: str) -> Locator:
    """The row of a run."""
    return page.locator("#runs > li").filter(has=page.get_by_text(workflow_id, exact=True))
