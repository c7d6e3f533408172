"""The page, driven in Chromium."""

import os
import re
import signal

import pytest
from dbos import DBOSClient
from playwright.sync_api import Locator, Page, expect

from .conftest import PHONE, Site


def launch(page: Page, workflow: str, **arguments: str) -> Locator:
    """Fill in the form and launch; returns the newest row."""
    choice = page.get_by_label("Workflow", exact=True)
    expect(choice).to_contain_text(workflow)
    if choice.input_value() != workflow:
        choice.select_option(workflow)
    for name, value in arguments.items():
        page.get_by_label(name).fill(value)
    page.get_by_role("button", name="Launch").click()
    return page.locator("#runs > li").first


def test_a_greeting_shows_its_result(page: Page) -> None:
    """Choose, fill in, launch, read."""
    row = launch(page, "greeting", name="Chromium")

    expect(row).to_contain_text("SUCCESS")
    expect(row).to_contain_text("Hello, Chromium!")
    expect(row).to_contain_text("s in all")


def test_a_failed_workflow_shows_its_error(page: Page) -> None:
    """Its name and its message."""
    row = launch(page, "order", quantity="1000")

    expect(row).to_contain_text("ERROR")
    expect(row).to_contain_text("OutOfStock: 1000 of book ordered, 100 in stock")


def test_a_refused_argument_is_marked(page: Page) -> None:
    """The message stands at the field, and goes away with the mistake."""
    launch(page, "order", quantity="0")
    field = page.get_by_label("quantity")

    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_accessible_description("0 is less than the minimum of 1")
    expect(page.locator("#runs > li")).to_have_count(0)

    launch(page, "order", quantity="1")
    expect(page.locator("#runs > li")).to_have_count(1)


def test_a_form_has_a_field_for_every_type(page: Page) -> None:
    """Also for what has to be written as JSON."""
    row = launch(page, "typed", items='[{"sku": "a", "quantity": 2}]', day="2026-11-22")
    expect(row).to_contain_text('"total": 2')

    launch(page, "typed", items="[", day="2026-11-22")
    expect(page.get_by_label("items")).to_have_accessible_description("is not JSON")


def test_untouched_fields_mean_the_defaults(page: Page) -> None:
    """Only what is required has to be given."""
    launch(page, "echo")
    expect(page.get_by_label("must")).to_be_focused()
    expect(page.get_by_label("must")).to_have_accessible_description("is required")

    row = launch(page, "echo", must="x")
    expect(row).to_contain_text("'x' 'preset' 'hello' None red 1 0.5 None")


def test_a_form_sends_what_it_shows(page: Page) -> None:
    """Cleared fields are empty or null, choices are theirs, numbers are as they were typed."""
    page.get_by_label("Workflow", exact=True).select_option("echo")
    page.get_by_label("sure").select_option("false")
    page.get_by_label("colour").select_option("blue")
    row = launch(
        page,
        "echo",
        must="x",
        preset="",
        greeting="",
        number="9007199254740993",
        share=".25",
        anything="[1, null]",
    )
    expect(row).to_contain_text("'x' None '' False blue 9007199254740993 0.25 [1, None]")

    launch(page, "echo", number="")
    expect(page.get_by_label("number")).to_have_accessible_description("needs a value")


def test_typing_survives_a_change_of_the_code(page: Page, site: Site) -> None:
    """The form is made again only if its own workflow has changed, and keeps what it holds."""
    added = site.project / "worker" / "workflows" / "added.py"
    source = "from worker import workflow\n\n\n@workflow()\ndef added({}) -> None: ...\n"
    options = page.get_by_label("Workflow", exact=True)
    try:
        added.write_text(source.format("first: str"))
        expect(options).to_contain_text("added")
        options.select_option("added")
        page.get_by_label("first").fill("half typed")

        added.write_text(source.format("first: str, second: int = 2"))
        expect(page.get_by_label("second")).to_have_value("2")
        expect(page.get_by_label("first")).to_have_value("half typed")
        expect(page.get_by_label("first")).to_be_focused()
    finally:
        added.unlink()

    expect(page.locator("#problem")).to_have_text("There is no added any longer.")
    page.get_by_role("button", name="Launch").click()
    expect(page.locator("#problem")).to_have_text("Choose a workflow.")
    try:
        added.write_text(source.format("").replace("added", "another"))
        expect(options).to_contain_text("another")
        expect(options).to_have_value("")
        expect(page.locator("#problem")).to_have_text("Choose a workflow.")
    finally:
        added.unlink()


def test_a_worker_that_does_not_start_is_said(page: Page, site: Site) -> None:
    """A file that is half written keeps it from starting; the page goes on when it is whole."""
    broken = site.project / "worker" / "workflows" / "broken.py"
    health = page.locator("#health")
    try:
        broken.write_text("def (:")
        expect(health).to_contain_text("The worker is not running")
    finally:
        broken.unlink()

    expect(health).to_have_text("connected")
    expect(launch(page, "greeting")).to_contain_text("SUCCESS")


def test_the_keyboard_is_enough(page: Page) -> None:
    """Tab leads from the workflow to its arguments; Enter launches."""
    expect(page.get_by_label("Workflow", exact=True)).to_be_enabled()
    page.get_by_label("Workflow", exact=True).focus()
    page.keyboard.press("g")
    page.keyboard.press("Tab")
    page.keyboard.press("Control+a")
    page.keyboard.type("Keyboard")
    page.keyboard.press("Enter")

    expect(page.locator("#runs > li").first).to_contain_text("Hello, Keyboard!")


def test_a_killed_worker_is_survived_before_your_eyes(page: Page, site: Site) -> None:
    """Progress stops, goes on, and the page says why."""
    row = launch(page, "report", length="12")
    expect(row.locator("progress")).to_have_attribute("aria-label", re.compile(r"\d+ of 12"))

    expect(page.locator("#kill")).to_have_text(f"kill -9 {site.pid('worker')}")
    os.kill(site.pid("worker"), signal.SIGKILL)

    expect(row).to_contain_text("Attempt 2: its worker stopped")
    expect(row).to_contain_text("SUCCESS")
    expect(row).to_contain_text("12. What there is to say")


def test_polling_stops_when_there_is_no_more_to_see(page: Page, site: Site) -> None:
    """Nothing asks any longer for workflows that have ended, however they have."""
    expect(launch(page, "greeting")).to_contain_text("SUCCESS")
    expect(launch(page, "exits")).to_contain_text("ERROR")
    cancelled = launch(page, "order")
    expect(cancelled).to_contain_text("waiting for the payment")
    client = DBOSClient(system_database_url=site.database)
    client.cancel_workflow(cancelled.locator(".id").inner_text())
    client.destroy()
    expect(cancelled).to_contain_text("CANCELLED")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    for _ in range(2):
        page.wait_for_event("request", lambda request: request.url.endswith("/local_dev"))

    assert len(asked) >= 2
    assert not any("/status/" in url for url in asked)


def test_an_absent_server_is_said_and_survived(page: Page, site: Site) -> None:
    """Broken code keeps the functions from starting; the page goes on when they are back."""
    health = page.locator("#health")
    code = site.project / "functions" / "main.py"
    working = code.read_text()
    expect(health).to_have_text("connected")

    code.write_text("raise SystemExit('broken')")
    expect(health).to_contain_text("The server is away")
    launch(page, "greeting")
    expect(page.locator("#problem")).to_have_text(
        "The server is away. This may not have been launched."
    )

    code.write_text(working)
    expect(health).to_have_text("connected")
    expect(launch(page, "greeting")).to_contain_text("SUCCESS")


def test_a_damaged_memory_does_no_harm(page: Page) -> None:
    """Whatever else has written to the browser's storage."""
    for damage in ("garbage", "null", "1", "{}"):
        page.evaluate("damage => localStorage.setItem('runs', damage)", damage)
        page.reload()
        expect(page.locator("#health")).to_have_text("connected")


def test_runs_are_still_there_after_a_reload(page: Page) -> None:
    """The browser remembers what it has launched."""
    expect(launch(page, "greeting", name="Reload")).to_contain_text("SUCCESS")

    page.reload()

    expect(page.locator("#runs > li").first).to_contain_text("Hello, Reload!")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(page: Page, scheme: str) -> None:
    """Nothing has to be scrolled sideways, in both colour schemes."""
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    expect(launch(page, "echo", must="x" * 200)).to_contain_text("SUCCESS")
    expect(page.locator("#runs > li").first).to_be_in_viewport()

    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(245, 246, 248)" if scheme == "light" else "rgb(20, 23, 28)")
