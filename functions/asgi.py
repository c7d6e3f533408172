"""All functions behind one router: `uvicorn functions.asgi:app`."""

from functools import cache
from http import HTTPMethod

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route

from .main import launch, status
from .problems import unrouted
from .settings import settings

ROUTES = [
    Route(path, function, methods=list(HTTPMethod))
    for function in (launch, status)
    for path in (f"/{function.__name__}", f"/{function.__name__}/{{path:path}}")
]


@cache
def application() -> Starlette:
    """The functions as one ASGI application."""
    settings()
    made = Starlette(routes=ROUTES, exception_handlers={HTTPException: unrouted})
    made.router.redirect_slashes = False
    return made


def __getattr__(name: str) -> Starlette:
    """Make `app` when a server asks for it, so that importing this module reads no settings."""
    if name == "app":
        return application()
    raise AttributeError(name)
