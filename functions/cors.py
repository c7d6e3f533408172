"""Let pages of other origins use the functions (CORS, as the Fetch standard defines it), or not.

CORS keeps a page from reading an answer, but not from sending a POST that looks like that of a
form. Where a platform knows callers by a cookie, or lets in whoever comes from this machine, such
a POST would count. Browsers say with it whose page has sent it (Fetch Metadata, `Sec-Fetch-Site`).

All this is done here and not in a middleware, since a function that is deployed alone has none.
"""

import functools
from collections.abc import Awaitable, Callable
from typing import Concatenate, ParamSpec

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response

from .errors import CrossSiteRequest, PreflightRefused
from .problems import problem
from .settings import settings

P = ParamSpec("P")

Answering = Callable[Concatenate[Request, P], Awaitable[Response]]

SENT = [
    *("Authorization", "X-API-Key", "Content-Type", "Idempotency-Key", "If-None-Match"),
    *("Last-Event-ID", "traceparent", "tracestate"),
]
"""Headers of requests that a page may set."""

SHOWN = ["Location", "Retry-After", "ETag", "Idempotency-Replayed", "WWW-Authenticate"]
"""Headers of answers that a page may read."""

FOREIGN = {"cross-site", "same-site"}
"""What browsers say of a request in `Sec-Fetch-Site` if a page of another origin has sent it."""


def refuse_cross_site(request: Request) -> None:
    """Raise CrossSiteRequest for a POST of a page that CORS_ORIGINS does not allow."""
    said = {each.strip().lower() for each in request.headers.getlist("sec-fetch-site")}
    if request.method == "POST" and said & FOREIGN and not _is_allowed(request):
        raise CrossSiteRequest


def shared(answering: Answering[P]) -> Answering[P]:
    """Let the pages of CORS_ORIGINS read what `answering` answers, and answer their preflights."""

    @functools.wraps(answering)
    async def answer(request: Request, /, *args: P.args, **kwargs: P.kwargs) -> Response:
        policy = _policy(settings().cors_origins)
        if policy and _is_preflight(request):
            return _preflight(policy, request)
        response = await answering(request, *args, **kwargs)
        if policy:
            _share(policy, request, response)
        return response

    return answer


@functools.cache
def _policy(origins: tuple[str, ...]) -> CORSMiddleware | None:
    """Starlette's implementation of CORS, around nothing; None when it is off."""
    if not origins:
        return None
    return CORSMiddleware(
        Response(),
        allow_origins=origins,
        allow_methods=("GET", "HEAD", "POST"),
        allow_headers=SENT,
        expose_headers=SHOWN,
    )


def _is_allowed(request: Request) -> bool:
    policy, origin = _policy(settings().cors_origins), request.headers.get("origin")
    return policy is not None and origin is not None and policy.is_allowed_origin(origin)


def _is_preflight(request: Request) -> bool:
    asked = {"origin", "access-control-request-method"} <= set(request.headers)
    return request.method == "OPTIONS" and asked


def _preflight(policy: CORSMiddleware, request: Request) -> Response:
    answer = policy.preflight_response(request.headers)
    if answer.status_code == 200:
        return answer
    reason = bytes(answer.body).decode()
    return problem(PreflightRefused(reason=reason, headers=policy.preflight_headers))


def _share(policy: CORSMiddleware, request: Request, response: Response) -> None:
    origin = request.headers.get("origin")
    if origin is not None and policy.is_allowed_origin(origin):
        response.headers.update(policy.simple_headers)
        if not policy.allow_all_origins:
            response.headers["Access-Control-Allow-Origin"] = origin
    response.headers.add_vary_header("Origin")
