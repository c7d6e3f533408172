"""How callers show who they are, for each value of the setting AUTH."""

from typing import Any

SCHEMES: dict[str, dict[str, dict[str, Any]]] = {
    "none": {},
    "api_key": {
        "bearer": {"type": "http", "scheme": "bearer"},
        "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    },
    "jwt": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
}


def security(auth: str) -> dict[str, dict[str, Any]]:
    """The security schemes, of which every call needs one."""
    return SCHEMES[auth]
