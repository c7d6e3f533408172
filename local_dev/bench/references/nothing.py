"""A handler that does nothing: as fast as HTTP gets here."""

import functions_framework.aio
from starlette.requests import Request


@functions_framework.aio.http
async def nothing(_: Request) -> dict[str, str]:
    """An empty object."""
    return {}
