"""Make a handler a target of functions-framework: its method, its argument, its errors."""

import functools
import sys
from collections.abc import Awaitable, Callable
from typing import cast

from starlette.requests import Request
from starlette.responses import Response

from .access import authenticate
from .cors import refuse_cross_site, shared
from .errors import MethodNotAllowed, NothingHere, UnknownWorkflowId
from .problems import problem

MAX_ID = 1024
"""Characters; far below what an index of Postgres takes."""

Handler = Callable[[Request], Awaitable[Response]]


def target(method: str) -> Callable[[Handler], Handler]:
    """A handler that answers only `method`, and never raises."""
    allowed = f"{method}, HEAD" if method == "GET" else method

    def make_target(handler: Handler) -> Handler:
        @shared
        @functools.wraps(handler)
        async def answer(request: Request) -> Response:
            try:
                refuse_cross_site(request)
                request.state.caller = await authenticate(request)
                if request.method not in allowed.split(", "):
                    raise MethodNotAllowed(request.method, allowed)
                return await handler(request)
            except Exception as error:
                return problem(error)

        return _served(answer)

    return make_target


def _served(answer: Handler) -> Handler:
    """A target of functions-framework, where that serves it.

    For every other server, importing it would make a cold start a quarter longer.
    """
    if "functions_framework" not in sys.modules:
        return answer
    import functions_framework.aio

    return cast(Handler, functions_framework.aio.http(answer))


def argument(request: Request) -> str:
    """What follows the function in the path: all of it, for a function deployed alone."""
    if request.scope["path"].endswith("\n"):  # Routes match as if it were not there.
        raise NothingHere
    return str(request.path_params.get("path", ""))


def workflow_id(request: Request) -> str:
    """The workflow id in the path; raises UnknownWorkflowId for one that nothing can have."""
    return checked_id(argument(request))


def checked_id(candidate: str) -> str:
    """A workflow id; raises UnknownWorkflowId for one that nothing can have."""
    if not candidate.strip() or "\0" in candidate or len(candidate) > MAX_ID:
        raise UnknownWorkflowId(workflow_id=candidate)
    return candidate
