"""All functions behind one router: `uvicorn functions.asgi:app`."""

from functools import cache

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route

from . import main
from .cors import shared
from .problems import unrouted
from .settings import settings

FUNCTIONS = (
    *(main.launch, main.status, main.cancel, main.resume, main.signal),
    *(main.list, main.steps, main.explain),
)

ANY: list[str] = []
"""What Starlette takes for every method: those that are not allowed are answered in one place."""

ROUTES = [
    Route(path, function, methods=ANY)
    for function in FUNCTIONS
    for path in (f"/{function.__name__}", f"/{function.__name__}/{{path:path}}")
]
ROUTES.append(Route("/openapi.json", main.openapi, methods=ANY))


@cache
def application() -> Starlette:
    """The functions as one ASGI application."""
    settings()
    made = Starlette(routes=ROUTES, exception_handlers={HTTPException: shared(unrouted)})
    made.router.redirect_slashes = False
    return made


def __getattr__(name: str) -> Starlette:
    """Make `app` when a server asks for it, so that importing this module reads no settings."""
    if name == "app":
        return application()
    raise AttributeError(name)
