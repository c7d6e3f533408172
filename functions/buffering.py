"""Platforms that send an answer only when it is whole, so that nobody can read it meanwhile."""

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

EXTENSION = "dbos_functions.buffered"


class Buffered:
    """An application that is told, by an extension of the ASGI scope, that its platform buffers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on."""
        extensions = {**scope.get("extensions", {}), EXTENSION: {}}
        await self._app({**scope, "extensions": extensions}, receive, send)


def is_buffered(request: Request) -> bool:
    """Whether what is sent in pieces arrives in one."""
    return EXTENSION in request.scope.get("extensions", {})
