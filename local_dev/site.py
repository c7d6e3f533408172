"""The page at `/` and all functions behind one server."""

import os
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from functions.answers import Answer
from functions.asgi import ROUTES
from functions.catalog import catalog
from functions.client import use_client
from functions.problems import unrouted
from functions.target import target

from . import DATA

PAGE = Path(__file__).parent / "page"


@target("GET")
async def local_dev(request: Request) -> Response:
    """`GET /local_dev`: what the page shows of the worker and its catalog."""
    workflows = await use_client(lambda _: catalog().workflows(max_age=1.0))
    listed = [
        {"name": each.name, "description": each.description, "arguments": each.arguments}
        for each in workflows.values()
    ]
    return Answer({"workflows": listed, "worker_pid": worker_pid()})


def worker_pid() -> int | None:
    """The worker's process id as local_dev wrote it down; None while it does not run."""
    path = Path(os.environ[DATA]) / "worker.pid"
    return int(path.read_text()) if path.is_file() else None


app = Starlette(
    routes=[
        *ROUTES,
        Route("/local_dev", local_dev, methods=["GET"]),
        Mount("/", StaticFiles(directory=PAGE, html=True)),
    ],
    exception_handlers={HTTPException: unrouted},
)
