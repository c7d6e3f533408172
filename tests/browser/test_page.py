"""The page, driven in Chromium."""

import pytest
from playwright.sync_api import Page, expect

from .conftest import PHONE, Site, launch, submit


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


def test_a_step_that_was_retried_in_vain_shows_why(page: Page) -> None:
    """What its last attempt has failed with, in the run and in its steps."""
    row = launch(page, "secrets", way="retries", kind="public")
    row.get_by_text("Details").click()

    reason = "its maximum of 3 retries; the last time Declined: declined: stolen"
    expect(row.locator("p.failure").first).to_contain_text(reason)
    expect(row.locator(".steps > li").last).to_contain_text(reason)


def test_a_refused_argument_is_marked(page: Page) -> None:
    """The message stands at the field, and goes away with the mistake."""
    submit(page, "order", quantity="0")
    field = page.get_by_label("quantity")

    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_accessible_description("0 is less than the minimum of 1")

    expect(launch(page, "order", quantity="1000")).to_contain_text("ERROR")
    expect(field).to_have_attribute("aria-invalid", "false")


def test_a_form_has_a_field_for_every_type(page: Page) -> None:
    """Also for what has to be written as JSON."""
    row = launch(page, "typed", items='[{"sku": "a", "quantity": 2}]', day="2026-11-22")
    expect(row).to_contain_text('"total": 2')

    submit(page, "typed", items="[", day="2026-11-22")
    expect(page.get_by_label("items")).to_have_accessible_description("is not JSON")


def test_a_partition_is_named_where_the_queue_wants_one(page: Page) -> None:
    """And nowhere else; without it, the server says why nothing was launched."""
    key = page.get_by_label("partition_key")
    submit(page, "tenant", number="1")
    expect(page.locator("#problem")).to_contain_text("partition_key has to be given")

    key.fill("a & b")
    with page.expect_request(lambda sent: "/launch/" in sent.url) as request:
        run = launch(page, "tenant", number="1")
    expect(run).to_contain_text("SUCCESS")
    assert request.value.url.endswith("/launch/tenant?partition_key=a+%26+b")
    assert request.value.post_data == '{"number":1}'

    expect(launch(page, "greeting")).to_contain_text("SUCCESS")
    expect(key).to_be_hidden()


def test_untouched_fields_mean_the_defaults(page: Page) -> None:
    """Only what is required has to be given."""
    submit(page, "echo")
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

    submit(page, "echo", number="")
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


def test_the_keyboard_is_enough(page: Page) -> None:
    """Tab leads from the workflow to its arguments; Enter launches."""
    expect(page.get_by_label("Workflow", exact=True)).to_contain_text("greeting")
    page.get_by_label("Workflow", exact=True).focus()
    page.keyboard.press("g")
    page.keyboard.press("Tab")
    page.keyboard.press("Control+a")
    page.keyboard.type("Keyboard")
    page.keyboard.press("Enter")

    expect(page.locator("#runs > li").first).to_contain_text("Hello, Keyboard!")


def test_an_absent_server_is_said_and_survived(page: Page, site: Site) -> None:
    """Broken code keeps the functions from starting; the page goes on when they are back."""
    health = page.locator("#health")
    code = site.project / "functions" / "main.py"
    working = code.read_text()
    expect(health).to_have_text("connected")

    code.write_text("raise SystemExit('broken')")
    expect(health).to_contain_text("The server is away")
    submit(page, "greeting")
    expect(page.locator("#problem")).to_have_text(
        "The server is away. You can safely try again: it is done only once."
    )

    code.write_text(working)
    expect(health).to_have_text("connected")
    expect(launch(page, "greeting")).to_contain_text("SUCCESS")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(page: Page, scheme: str) -> None:
    """Nothing has to be scrolled sideways, in both colour schemes."""
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    row = launch(page, "echo", must="x" * 200)
    expect(row).to_contain_text("SUCCESS")
    expect(row).to_be_in_viewport()
    row.get_by_text("Details").click()
    expect(row.locator(".no-steps")).to_have_text("No step was recorded.")
    report = launch(page, "report", length="2")
    expect(report).to_contain_text("SUCCESS")
    report.get_by_text("Details").click()
    expect(report.locator(".steps")).to_contain_text("write_line")
    expect(launch(page, "order").get_by_label("paid")).to_be_in_viewport()

    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(245, 246, 248)" if scheme == "light" else "rgb(20, 23, 28)")
