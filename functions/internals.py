"""What stands in place of dbos's own and of functions-framework's: one named function each, with
the reason why.

Importing this module changes nothing, and imports nothing.
"""

from typing import Any, NoReturn


def never_unpickle() -> None:
    """DBOS reads a value as its row says, whichever serializer it was given; a pickle executes
    code when it is read."""
    from dbos._serialization import DefaultSerializer

    DefaultSerializer.deserialize = _refused  # type: ignore[assignment, method-assign]


def _refused(*_: Any) -> NoReturn:
    """What DBOS raises for a form that it does not know."""
    raise TypeError("Serialization py_pickle is not available")


def limit_headers() -> None:
    """uvicorn serves with this project's protocol, since its own is chosen by name, as "auto"."""
    from uvicorn import config

    for name in ("auto", "httptools"):
        config.HTTP_PROTOCOLS[name] = f"{__package__}.protocol:LimitedHttp"


def route_every_method() -> None:
    """A function gets every method, since functions-framework routes only seven of them to it."""
    from functions_framework import aio
    from starlette.routing import Route

    def route(path: str, endpoint: Any, methods: list[str]) -> Route:
        return Route(path, endpoint, methods=[] if "DELETE" in methods else methods)

    aio.Route = route  # type: ignore[assignment, attr-defined]
