"""Killing the worker from the page, and only from there."""

import re

import httpx2
import pytest
from playwright.sync_api import Page, expect

from local_dev.bench.processes import DEADLINE

from .conftest import Site, launch


def kill(site: Site, **headers: str) -> httpx2.Response:
    """Ask for it without the page."""
    sent = {"Content-Type": "application/json"} | headers
    return httpx2.post(f"{site.url}/local_dev/kill", headers=sent, timeout=DEADLINE)


def test_a_killed_worker_is_survived_before_your_eyes(page: Page, site: Site) -> None:
    """Progress stops, goes on, and the page says why."""
    before = site.pid("worker")
    run = launch(page, "report", length="6")
    expect(run.locator("progress")).to_have_attribute("aria-label", re.compile(r"\d+ of 6"))

    page.get_by_role("button", name="Kill the worker").click()

    expect(page.locator("#killed")).to_contain_text(f"Process {before} is dead.")
    expect(page.locator("#killed")).to_contain_text("is started in its place.")
    expect(run).to_contain_text("Attempt 2: its worker stopped")
    expect(run).to_have_class("SUCCESS")
    expect(run.locator(".lines > li")).to_have_count(6)
    assert site.pid("worker") != before


@pytest.mark.parametrize(
    "foreign",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Content-Type": "text/plain"},
        {"Host": "rebound.example"},
    ],
)
def test_another_page_cannot_kill_it(site: Site, foreign: dict[str, str]) -> None:
    """Whatever makes a browser send it: a form, a script, a host name that leads here."""
    before = site.pid("worker")

    answer = kill(site, **foreign)

    assert answer.status_code == 403
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert site.pid("worker") == before


@pytest.mark.parametrize(
    ("file", "source", "said"),
    [
        (
            "workflows/broken.py",
            "def (:",
            "broken.py:1: worker.workflows.broken cannot be loaded: SyntaxError: invalid syntax",
        ),
        (
            "workflows/broken.py",
            "<b>\x1b[31m",
            "workflows.broken cannot be loaded: SyntaxError: invalid",
        ),
        ("broken.py", "missing", "worker/broken.py, line 1: NameError: name 'missing' is not def"),
    ],
    ids=["workflow", "markup", "import"],
)
def test_a_worker_that_does_not_start_is_said(
    page: Page, site: Site, file: str, source: str, said: str
) -> None:
    """With its last sentence; it is left alone until a file changes, and started at once then."""
    health = page.locator("#health")
    broken, package = site.project / "worker" / file, site.project / "worker" / "__init__.py"
    whole = package.read_text()
    expect(health).to_have_text("connected")
    try:
        broken.write_text(source)
        if file == "broken.py":
            package.write_text(f"from . import broken\n{whole}")
        expect(health).to_contain_text("The worker could not be loaded and waits for a change")
        expect(health).to_contain_text(said)
        expect(health.locator("*")).to_have_count(0)
        expect(page.get_by_role("button", name="Kill the worker")).to_be_disabled()
        assert kill(site).status_code == 409
    finally:
        broken.unlink()
        package.write_text(whole)

    expect(health).to_have_text("connected")
    expect(launch(page, "greeting")).to_contain_text("SUCCESS")
