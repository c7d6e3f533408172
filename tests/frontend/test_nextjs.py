"""The Next.js example: built, and driven in Chromium with real functions behind it."""

import base64
import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, Page, Request, Route, expect

from local_dev.bench.processes import Process, run, worker
from tests.processes import ALL, free_port

from .conftest import KEY, App

pytestmark = pytest.mark.frontend

WAITS = 20_000
"""Milliseconds that a page may take; a workflow may have to be taken over."""

UNDER_WAY = re.compile(r"\b[1-9] of 10")
"""The progress of a report, of which the events may skip some."""


@pytest.fixture
def executing(root: Path, environ: dict[str, str]) -> Iterator[Process]:
    """A worker."""
    with worker(root, environ) as process:
        yield process


@pytest.fixture
def page(blank: Page, app: App, functions: httpx2.Client) -> Iterator[Page]:
    """The page, loaded, with the functions behind it."""
    with app.serve(str(functions.base_url)) as url:
        blank.goto(url)
        yield blank


def test_its_types_are_those_of_the_functions(app: App, functions: httpx2.Client) -> None:
    """After a change of the HTTP contract or of a workflow that is shipped: `npm run types`."""
    types = app.path / "lib" / "types.ts"
    committed = types.read_text()

    done = app.npm("run", "types", functions=str(functions.base_url))

    assert done.returncode == 0, done.stdout + done.stderr
    assert types.read_text() == committed


def test_it_names_no_registry(root: Path) -> None:
    """Its dependencies come from whichever is configured."""
    lock = (root / "local_dev" / "examples" / "nextjs" / "package-lock.json").read_text()

    assert '"integrity": "sha512-' in lock
    assert '"resolved"' not in lock


@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        ("app/actions.ts", "{ name }", "{ nmae: name }"),
        ("app/actions.ts", "length: 10", 'length: "10"'),
        ("app/actions.ts", '"report"', '"rapport"'),
        ("app/run.tsx", "status.result?.lines", "status.result?.rows"),
        ("app/run.tsx", 'CANCELLED: "was cancelled",', ""),
    ],
    ids=["argument", "type of an argument", "workflow", "result", "status"],
)
def test_what_does_not_fit_the_functions_does_not_compile(
    app: App, file: str, right: str, wrong: str
) -> None:
    """Before anybody has to see it at run time."""
    source = app.path / file
    original = source.read_text()
    assert original.count(right) == 1
    clean = app.npm("run", "typecheck")
    try:
        source.write_text(original.replace(right, wrong))
        broken = app.npm("run", "typecheck")
    finally:
        source.write_text(original)

    assert clean.returncode == 0, clean.stdout + clean.stderr
    assert broken.returncode != 0
    assert f"{file}(" in broken.stdout


@pytest.mark.usefixtures("executing")
def test_the_url_keeps_the_run(page: Page) -> None:
    """A greeting is launched, followed to its result, and found again."""
    page.get_by_label("Name").fill("Ada")
    page.get_by_role("button", name="Launch greeting").click()
    shows(page, "greeting is done", "Hello, Ada!")
    url = page.url

    page.reload()
    shows(page, "greeting is done", "Hello, Ada!")

    workflow_id = page.locator("code").inner_text()
    assert url.endswith(f"/?id={workflow_id}")
    assert page.url == url


@pytest.mark.usefixtures("executing")
def test_a_click_that_was_not_answered_can_be_repeated(
    page: Page, functions: httpx2.Client
) -> None:
    """It launches one; the next click launches another."""
    button = page.get_by_role("button", name="Launch greeting")

    def lose_answer(route: Route, request: Request) -> None:
        if request.method == "POST":
            route.fetch()
            route.abort()
        else:
            route.fallback()

    page.route("**/*", lose_answer)
    button.click()
    expect(page.get_by_text("There was no answer.")).to_be_visible(timeout=WAITS)
    lost = launches(functions)
    page.unroute("**/*")
    button.click()
    shows(page, "greeting is done", "Hello, World!")
    repeated = launches(functions)
    url = page.url
    button.click()
    page.wait_for_url(lambda now: now != url)
    shows(page, "greeting is done", "Hello, World!")

    assert len(lost) == 1
    assert repeated == lost
    assert len(launches(functions)) == 2


def test_a_report_is_followed_through_the_death_of_its_worker(
    page: Page, root: Path, environ: dict[str, str]
) -> None:
    """Its progress stops, goes on, and the page says why."""
    with worker(root, environ) as first:
        page.get_by_role("button", name="Launch report").click()
        expect(page.get_by_text(UNDER_WAY)).to_be_visible(timeout=WAITS)
        first.stop(signal.SIGKILL)
    with worker(root, environ):
        shows(page, "report is done, attempt 2: its worker was stopped", "10. What there is")


@pytest.mark.usefixtures("executing")
def test_the_key_stays_on_the_server(
    browser: Browser, app: App, functions: httpx2.Client, tmp_path: Path
) -> None:
    """It is in nothing that the browser sends or receives, and in none of the files for it."""
    archive = tmp_path / "traffic.har"
    with (
        app.serve(str(functions.base_url)) as url,
        browser.new_context(record_har_path=archive) as context,
    ):
        page = context.new_page()
        page.goto(url)
        page.get_by_role("button", name="Launch greeting").click()
        shows(page, "greeting is done", "Hello, World!")
        page.reload()
        shows(page, "greeting is done", "Hello, World!")
        events = httpx2.get(page.url.replace("/?", "/status?")).text
    traffic = list(bodies(archive))
    files = [path for path in (app.path / ".next" / "static").rglob("*") if path.is_file()]

    assert any("Launch report" in body for body in traffic)  # The page.
    assert any("There was no answer." in body for body in traffic)  # Its scripts.
    assert "event: end" in events
    assert not leaks(archive.read_text())
    assert not [text for text in [events, *traffic] if leaks(text)]
    assert files
    assert not [path for path in files if leaks(path.read_text(errors="replace"))]


def test_functions_that_are_away_are_said(
    blank: Page, app: App, root: Path, environ: dict[str, str]
) -> None:
    """In a sentence, as long as they are; then the page goes on."""
    away = "The functions cannot be reached."
    port = free_port()
    command = [part.format(port=port) for part in ALL]
    alerts = blank.get_by_role("main").get_by_role("alert")
    with app.serve(f"http://127.0.0.1:{port}") as url:
        blank.goto(f"{url}/?id=some")
        expect(alerts).to_have_text([away], timeout=WAITS)
        blank.get_by_role("button", name="Launch greeting").click()
        expect(alerts).to_have_text([away, away], timeout=WAITS)

        with run(*command, cwd=root, environ=environ):
            expect(alerts).to_have_text(
                [away, "There is no workflow with the id 'some'."], timeout=WAITS
            )
            blank.get_by_role("button", name="Launch greeting").click()
            status = blank.locator("p[role=status]")
            expect(status).to_have_text("greeting waits for a worker", timeout=WAITS)
            expect(alerts).to_have_count(0)
        expect(alerts).to_have_text([away], timeout=WAITS)

        with run(*command, cwd=root, environ=environ):
            expect(alerts).to_have_count(0, timeout=WAITS)
            expect(status).to_have_text("greeting waits for a worker")
            with worker(root, environ):
                shows(blank, "greeting is done", "Hello, World!")


def test_what_the_functions_refuse_is_shown_in_their_words(page: Page) -> None:
    """Such as an Idempotency-Key that they do not take."""
    page.evaluate("crypto.randomUUID = () => 'ö'")

    page.get_by_role("button", name="Launch greeting").click()

    expect(page.get_by_role("main").get_by_role("alert")).to_contain_text("Idempotency-Key")


def shows(page: Page, status: str, result: str) -> None:
    """Wait until the page shows this of its run."""
    expect(page.locator("p[role=status]")).to_have_text(status, timeout=WAITS)
    expect(page.locator("output")).to_contain_text(result)


def launches(functions: httpx2.Client) -> list[str]:
    """The ids of what was launched."""
    return [each["workflow_id"] for each in functions.get("/list").json()["workflows"]]


def bodies(archive: Path) -> Iterator[str]:
    """The bodies of all answers in an HTTP archive."""
    for entry in json.loads(archive.read_text())["log"]["entries"]:
        content = entry["response"]["content"]
        if content.get("encoding") == "base64":
            yield base64.b64decode(content["text"]).decode(errors="replace")
        else:
            yield content.get("text", "")


def leaks(text: str) -> bool:
    """Whether it has the key, or the name of the variable that has it."""
    return KEY in text or "FUNCTIONS_KEY" in text
