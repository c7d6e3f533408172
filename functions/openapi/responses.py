"""What answers carry beside a body, and the errors, as components."""

from collections.abc import Iterable
from typing import Any

from .. import errors
from ..errors import FunctionError
from .definitions import component

UNAUTHENTICATED = 401

FORBIDDEN = 403
"""For a POST only: nothing else is refused to a page of another origin."""

ERRORS = (400, UNAUTHENTICATED, FORBIDDEN, 404, 405, 408, 409, 413, 415, 422, 431, 503)

Component = dict[str, Any]

HEADERS: dict[str, Component] = {
    "Location": {
        "description": "Where to follow the workflow.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Retry-After": {
        "description": "Seconds after which asking again is worth it.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "ETag": {
        "description": "Changes when the status does; for `If-None-Match`.",
        "schema": {"type": "string"},
    },
    "Idempotency-Replayed": {
        "description": "The key has been used before: this is the first workflow.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "WWW-Authenticate": {
        "description": "How to authenticate.",
        "required": True,
        "schema": {"type": "string"},
    },
    "Allow": {
        "description": "The methods that are allowed here.",
        "required": True,
        "schema": {"type": "string"},
    },
    "Accept": {"description": "The type that a body may have.", "schema": {"type": "string"}},
    "Accept-Encoding": {
        "description": "The encoding that a body may have.",
        "schema": {"type": "string"},
    },
}

ERROR_HEADERS = {
    401: ["WWW-Authenticate"],
    405: ["Allow"],
    415: ["Accept", "Accept-Encoding"],
    503: ["Retry-After"],
}


def answer(
    description: str, schema: Component | None = None, headers: Iterable[str] = ()
) -> Component:
    """An answer with these headers, and with a JSON body if `schema` says what it is."""
    made: Component = {"description": description}
    if headers:
        made["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in headers}
    if schema is not None:
        made["content"] = {"application/json": {"schema": schema}}
    return made


ACCEPTED = answer(
    "It is accepted; the status will show it.",
    component("Launched"),
    ["Location", "Retry-After", "Idempotency-Replayed"],
)


def refusals(auth: str, *statuses: int) -> dict[str, Component]:
    """References to the errors that an operation can answer, each under its status code."""
    always = {400, 405, 431, 503} | (set() if auth == "none" else {UNAUTHENTICATED})
    return {
        str(status): {"$ref": f"#/components/responses/{_name(status)}"}
        for status in sorted(always | set(statuses))
    }


def responses(auth: str) -> dict[str, Component]:
    """The answers that several operations have; an error is described by what can go wrong."""
    titles = _titles()
    return {"Accepted": ACCEPTED} | {
        _name(status): _problem(status, titles[status])
        for status in ERRORS
        if auth != "none" or status != UNAUTHENTICATED
    }


def _problem(status: int, titles: list[str]) -> Component:
    made = answer("; ".join(titles), headers=ERROR_HEADERS.get(status, ()))
    return made | {"content": {"application/problem+json": {"schema": component("Problem")}}}


def _titles() -> dict[int, list[str]]:
    """What can go wrong in a function, by status code."""
    found: dict[int, list[str]] = {}
    for error in vars(errors).values():
        if isinstance(error, type) and issubclass(error, FunctionError):
            titles = found.setdefault(error.status, [])
            if error.title not in titles:
                titles.append(error.title)
    return found


def _name(status: int) -> str:
    return f"Problem{status}"
