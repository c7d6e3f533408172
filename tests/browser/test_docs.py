"""The HTTP reference of local_dev, in Chromium."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from .conftest import Site


@pytest.fixture
def docs(browser: Browser, site: Site) -> Iterator[Page]:
    """The reference, loaded; an uncaught error or a request to anywhere else fails the test."""
    problems: list[str] = []
    with browser.new_context() as context:
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((site.url, "data:"))
                else problems.append(request.url)
            ),
        )
        page.goto(f"{site.url}/docs")
        yield page
    assert problems == []


def test_every_workflow_is_listed(docs: Page) -> None:
    """By its path, with what it takes."""
    for path in ("/launch/greeting", "/launch/order", "/launch/report", "/status/{workflow_id}"):
        expect(docs.locator(f'.opblock-summary-path[data-path="{path}"]')).to_be_visible()

    docs.locator("#operations-launch-launchOrder").get_by_role("button").first.click()
    expect(docs.locator("#operations-launch-launchOrder")).to_contain_text("payment_timeout")


def test_a_workflow_is_launched_from_the_reference(docs: Page) -> None:
    """With the defaults as they are proposed."""
    greeting = docs.locator("#operations-launch-launchGreeting")
    greeting.get_by_role("button").first.click()
    greeting.get_by_role("button", name="Try it out").click()
    expect(greeting.locator("textarea")).to_contain_text('"name": "World"')
    greeting.get_by_role("button", name="Execute").click()

    answer = greeting.locator(".live-responses-table .response").first
    expect(answer.locator(".response-col_status")).to_contain_text("202")
    expect(answer).to_contain_text('"workflow": "greeting"')
