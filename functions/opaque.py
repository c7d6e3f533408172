"""Texts that callers only hand back: JSON in URL-safe base64 (RFC 4648) without padding."""

import base64
import json
from typing import Any

from .answers import as_json


def sealed(value: Any) -> str:
    """The text of a JSON value."""
    return base64.urlsafe_b64encode(as_json(value)).decode().rstrip("=")


def opened(text: str) -> Any:
    """The value of a text, which may be anything that a caller makes up; raises ValueError."""
    try:
        return json.loads(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
    except RecursionError as error:
        raise ValueError from error
