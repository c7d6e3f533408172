"""The runs on the page: listed, followed, controlled."""

import re

import pytest
from playwright.sync_api import Page, Route, expect

from .conftest import PHONE, Site, launch, row

FILTER = "Show which"
STATUS = "Show in status"


def test_what_others_launch_shows_up(page: Page, site: Site) -> None:
    """The page is not their only client; private children stay out."""
    expect(page.locator("#health")).to_have_text("connected")

    [greeting] = site.launch("greeting", {"name": "curl"})
    [report] = site.launch("report", {"length": 1})

    expect(row(page, greeting)).to_contain_text("Hello, curl!")
    expect(row(page, report)).to_contain_text("SUCCESS")
    expect(row(page, f"{report}-1")).to_have_count(0)


def test_lines_show_up_as_they_are_streamed(page: Page) -> None:
    """Over server-sent events, in order, none twice."""
    with page.expect_request(lambda sent: sent.headers.get("accept") == "text/event-stream"):
        run = launch(page, "report", length="8")

    expect(run.locator(".lines > li").first).to_have_text(re.compile("1. What there is to say"))
    expect(run).to_have_class("PENDING")
    expect(run).to_have_class("SUCCESS")
    lines = run.locator(".lines > li").all_inner_texts()
    assert [line.split(".")[0] for line in lines] == [str(number) for number in range(1, 9)]


@pytest.mark.parametrize(
    "trouble",
    [
        "delete window.EventSource",
        "window.EventSource = class extends EventSource { constructor() { super('/missing') } }",
    ],
    ids=["absent", "broken"],
)
def test_without_events_it_asks_again_and_again(blank: Page, site: Site, trouble: str) -> None:
    """Where the browser has none, and where something in between breaks them."""
    blank.add_init_script(trouble)
    blank.goto(site.url)

    run = launch(blank, "report", length="3")

    expect(run.locator("progress")).to_have_attribute("aria-label", re.compile(r"\d of 3"))
    expect(run).to_have_class("SUCCESS")


def test_many_unfinished_runs_leave_connections_for_others(page: Page, site: Site) -> None:
    """A browser opens six; each run that is followed with events holds one."""
    waiting = site.launch("waits", [{}] * 8)
    for workflow_id in waiting:
        expect(row(page, workflow_id)).to_have_class("PENDING")

    expect(launch(page, "greeting")).to_contain_text("Hello, World!")

    site.cancel(*waiting)
    for workflow_id in waiting:
        expect(row(page, workflow_id)).to_have_class("CANCELLED")


def test_nothing_is_asked_about_what_has_ended(page: Page) -> None:
    """However it has ended, and whether it was followed with events or not."""
    expect(launch(page, "greeting")).to_have_class("SUCCESS")
    expect(launch(page, "exits")).to_have_class("ERROR")
    page.get_by_label(FILTER).select_option("exits")
    page.reload()
    expect(page.locator("#runs > li.ERROR").first).to_contain_text("SystemExit")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    for _ in range(2):
        page.wait_for_event("request", lambda request: "/list" in request.url)

    assert not any("/status/" in url for url in asked)


def test_a_run_is_cancelled_and_resumed(page: Page) -> None:
    """Each button is there when it can be used."""
    run = launch(page, "order")
    expect(run).to_contain_text("waiting for the payment")
    expect(run.get_by_role("button", name="Resume")).to_be_hidden()

    run.get_by_role("button", name="Cancel").click()
    expect(run).to_have_class("CANCELLED")
    expect(run.get_by_role("button", name="Cancel")).to_be_hidden()
    expect(run.get_by_label("paid")).to_be_hidden()

    run.get_by_role("button", name="Resume").click()
    expect(run).to_have_class("PENDING")
    run.get_by_role("button", name="Cancel").click()
    expect(run).to_have_class("CANCELLED")


def test_a_refusal_is_shown(page: Page, site: Site) -> None:
    """Somebody else was faster, and the page has not heard of it yet."""
    page.route("**/status/**", lambda route: route.abort())
    run = launch(page, "waits")
    expect(run.get_by_role("button", name="Cancel")).to_be_visible()
    site.cancel(run.locator(".id").inner_text())

    run.get_by_role("button", name="Cancel").click()

    expect(run.locator(".refusal")).to_contain_text("CANCELLED")


def test_an_order_is_paid_with_its_form(page: Page) -> None:
    """What it waits for is said as long as it waits."""
    run = launch(page, "order")
    expect(run.locator(".explanation")).to_contain_text("waiting for a signal")

    run.get_by_label("paid").check()
    run.get_by_role("button", name="Send payment").click()

    expect(run).to_contain_text("shipped as PARCEL-")
    expect(run.locator(".explanation")).to_be_hidden()


def test_a_double_click_sends_one_signal(page: Page) -> None:
    """With the form for workflows that do not say what they wait for."""
    run = launch(page, "waits")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))

    run.get_by_text("Details").click()
    run.get_by_label("topic").fill("go")
    run.get_by_label("value").fill("{")
    run.get_by_role("button", name="Send a signal").click()
    expect(run.get_by_label("value")).to_have_accessible_description("is not JSON")
    run.get_by_label("value").fill("true")
    run.get_by_role("button", name="Send a signal").dblclick()

    expect(run).to_have_class("SUCCESS")
    assert sum("/signal/" in url for url in sent) == 1


def test_a_delayed_run_says_so(page: Page, site: Site) -> None:
    """Nothing has happened yet, and the page explains why."""
    [delayed] = site.launch("greeting?delay=600", {})

    expect(row(page, delayed).locator(".explanation")).to_be_visible()

    site.cancel(delayed)
    expect(row(page, delayed).locator(".explanation")).to_be_hidden()


def test_the_steps_are_a_timeline(page: Page) -> None:
    """Each with its name and duration, and the child that it has started."""
    run = launch(page, "report", length="1")
    expect(run).to_have_class("SUCCESS")

    run.get_by_text("Details").click()

    steps = run.locator(".steps > li")
    expect(steps.first).to_contain_text("write_line …-1")
    expect(steps.first).to_contain_text(re.compile(r"\d\.\d\d s"))
    expect(steps.filter(has_text="DBOS.setEvent")).to_have_class("internal")
    expect(steps.first.get_by_role("link")).to_have_attribute("href", re.compile("^/status/.*-1$"))


def test_pages_and_filters(page: Page, site: Site) -> None:
    """Twenty at a time; the filters survive a reload."""
    made = set(site.launch("greeting", [{}] * 25))
    ids = page.locator("#runs .id")

    page.get_by_label(FILTER).select_option("greeting")
    expect(page.locator("#runs > li.SUCCESS")).to_have_count(20)
    newest = set(ids.all_inner_texts())
    assert newest < made

    page.get_by_role("button", name="Older").click()
    for workflow_id in made - newest:
        expect(row(page, workflow_id)).to_contain_text("Hello, World!")
    assert not newest & set(ids.all_inner_texts())

    page.get_by_role("button", name="Newest").click()
    expect(page.get_by_role("button", name="Newest")).to_be_hidden()
    expect(ids).to_have_count(20)
    assert set(ids.all_inner_texts()) == newest

    page.get_by_label(STATUS).select_option("unfinished")
    expect(page.locator("#none")).to_have_text("No runs here yet.")
    page.reload()
    expect(page.get_by_label(STATUS)).to_have_value("unfinished")
    expect(page.get_by_label(FILTER)).to_have_value("greeting")
    expect(page.locator("#none")).to_have_text("No runs here yet.")

    expect(launch(page, "echo", must="x")).to_be_visible()
    expect(page.get_by_label(FILTER)).to_have_value("")
    expect(page.get_by_label(STATUS)).to_have_value("")


def test_what_is_launched_is_scrolled_to_though_its_list_comes_late(page: Page) -> None:
    """A newer question overtakes the one that was asked for it."""
    expect(page.get_by_label("Workflow", exact=True)).to_contain_text("greeting")
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    held: list[Route] = []
    page.route("**/list?**", lambda route: held.append(route), times=2)

    run = launch(page, "echo", must="late")

    expect(run).to_contain_text("'late'")
    expect(run).to_be_in_viewport()
    assert held


def test_only_one_window_streams(page: Page, site: Site) -> None:
    """All windows share the browser's connections; the others ask."""
    with page.expect_request(lambda sent: sent.resource_type == "eventsource"):
        run = launch(page, "waits")
    requested: list[str] = []
    other = page.context.new_page()
    other.on("request", lambda request: requested.append(request.resource_type))

    other.goto(site.url)
    same_run = row(other, run.locator(".id").inner_text())
    same_run.get_by_role("button", name="Cancel").click()

    expect(same_run).to_have_class("CANCELLED")
    expect(run).to_have_class("CANCELLED")
    assert "eventsource" not in requested
