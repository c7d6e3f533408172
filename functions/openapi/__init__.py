"""The functions in OpenAPI 3.1: what each answers, and every workflow with its types."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from ..catalog import Workflow
from .bodies import Bodies
from .parameters import PARAMETERS
from .paths import TAGS, paths
from .responses import HEADERS, responses
from .security import security

DESCRIPTION = """\
Durable workflows behind serverless HTTP functions.

Each workflow has a path of its own under `/launch`. The paths are those of one server with all
functions; a function that is deployed alone sees what follows its name. Every `GET` answers
`HEAD`, too. Every error is a problem (RFC 9457)."""

Document = dict[str, Any]


def document(workflows: Iterable[Workflow], *, auth: str) -> Document:
    """The OpenAPI document of an application with `workflows`, whose setting AUTH is `auth`.

    Its version is a digest of the rest: it changes if and only if the document does.
    """
    bodies = Bodies()
    typed = [bodies.add(each) for each in sorted(workflows, key=lambda each: each.name)]
    made: Document = {
        "openapi": "3.1.0",
        "info": {"title": "dbos-functions", "description": DESCRIPTION},
        "tags": TAGS,
        "paths": paths(typed, auth),
        "components": {
            "schemas": bodies.schemas,
            "parameters": PARAMETERS,
            "headers": HEADERS,
            "responses": responses(auth),
        },
    }
    if schemes := security(auth):
        made["components"]["securitySchemes"] = schemes
        made["security"] = [{name: []} for name in schemes]
    made["info"]["version"] = hashlib.sha256(json.dumps(made).encode()).hexdigest()[:12]
    return made
