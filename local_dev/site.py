"""The page at `/` and all functions behind one server."""

import os
import re
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from functions.answers import Answer
from functions.asgi import ROUTES
from functions.catalog import catalog
from functions.client import use_client
from functions.errors import NoWorkerYet
from functions.parameters import Query
from functions.problems import problem, unrouted
from functions.target import target

from . import DATA
from .errors import ForeignHost, ForeignRequest, NoWorkerRunning

PAGE = Path(__file__).parent / "page"

SWAGGER = ("flask_openapi3_swagger", "templates/swagger")
"""Where the files of Swagger UI are; nothing else of that package is used."""

POLICY = "default-src 'self'; img-src data:; frame-ancestors 'none'"
"""Another page that framed this one could have people press its buttons."""

SHOWN = ("name", "description", "arguments", "signals", "partitioned")
"""What the page needs to know of a workflow."""

LOOPBACK = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
"""A `Host` by which a browser on this machine knows the site."""


@target("GET")
async def local_dev(request: Request) -> Response:
    """`GET /local_dev`: what the page shows of the worker and its catalog."""
    Query(request)
    pid, end = worker_pid(), worker_end()
    try:
        workflows = await use_client(lambda _: catalog().workflows(max_age=1.0))
    except NoWorkerYet:
        if end is None:
            raise
        workflows = {}  # What keeps the first worker from starting is all that can be shown.
    listed = [{member: getattr(each, member) for member in SHOWN} for each in workflows.values()]
    return Answer({"workflows": listed, "worker_pid": pid, "worker_end": end})


@target("POST")
async def kill(request: Request) -> Response:
    """`POST /local_dev/kill`: end the worker as a crash would, with SIGKILL."""
    Query(request)
    refuse_foreign(request)
    pid = worker_pid()
    if pid is None:
        raise NoWorkerRunning
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError as error:
        raise NoWorkerRunning from error
    return Answer({"worker_pid": pid}, 202)


def refuse_foreign(request: Request) -> None:
    """Raise ForeignRequest for what another web page may have sent.

    Without a preflight, which is never granted here, it cannot send JSON; and browsers say whose
    request it is.
    """
    ours = (
        request.headers.get("Content-Type") == "application/json"
        and request.headers.get("Sec-Fetch-Site", "same-origin") == "same-origin"
    )
    if not ours:
        raise ForeignRequest


def worker_pid() -> int | None:
    """The worker's process id as local_dev wrote it down; None while it does not run."""
    pid = _written("worker.pid")
    return None if pid is None else int(pid)


def worker_end() -> str | None:
    """How the worker has ended, as local_dev wrote it down; None once another one goes well."""
    return _written("worker.end")


def _written(name: str) -> str | None:
    with suppress(FileNotFoundError):
        return (Path(os.environ[DATA]) / name).read_text()
    return None


class OnlyLoopback:
    """Answers nothing but this problem to a page that has its own host name lead to this machine.

    For a browser such a page is of the same origin (DNS rebinding): it may send and read anything,
    but the browser sends the name by which it has found the site.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass whose hosts are all names of this machine."""
        app = self._app
        if scope["type"] == "http":
            hosts = Request(scope).headers.getlist("host") or [""]
            if foreign := [host for host in hosts if not LOOPBACK.fullmatch(host)]:
                app = problem(ForeignHost(host=foreign[0]))
        await app(scope, receive, send)


class Page(StaticFiles):
    """The page's files, as they are now: modules of two versions must not meet in a browser."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        """Answer with a file, or 304; nothing from elsewhere runs in the page or frames it."""
        answer = super().file_response(*args, **options)
        answer.headers["Cache-Control"] = "no-cache"
        answer.headers["Content-Security-Policy"] = POLICY
        return answer


app = Starlette(
    routes=[
        *ROUTES,
        Route("/local_dev", local_dev, methods=["GET"]),
        Route("/local_dev/kill", kill, methods=["POST"]),
        Mount("/docs/swagger", StaticFiles(packages=[SWAGGER])),
        Mount("/", Page(directory=PAGE, html=True)),
    ],
    middleware=[Middleware(OnlyLoopback)],
    exception_handlers={HTTPException: unrouted},
)
