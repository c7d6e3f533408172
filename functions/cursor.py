"""Where a page of `list` ends: opaque to callers, stable while workflows are added."""

import base64
import re
from typing import NamedTuple

from .errors import BadParameter

LONGEST = 8192
"""Characters of a cursor, which has an id of up to 1,024 characters of up to four bytes in it."""

PATTERN = r"[0-9]{1,19}\.[A-Za-z0-9_-]*"
"""A number, and an id in URL-safe base64 (RFC 4648) without padding. Whatever looks like that is a
cursor, so that the OpenAPI document can say what one is."""

LATEST_MILLISECONDS = 2**63 - 1
"""The latest time of creation that Postgres could store, since the epoch."""


class Cursor(NamedTuple):
    """The last workflow of a page; `created_at` is milliseconds of the epoch."""

    created_at: int
    workflow_id: str

    def __str__(self) -> str:
        sealed = base64.urlsafe_b64encode(self.workflow_id.encode()).decode().rstrip("=")
        return f"{self.created_at}.{sealed}"

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """The cursor that a page has named as the next; raises BadParameter for anything else.

        What a caller makes up is a place among the workflows, too, where there may be none.
        """
        if not re.fullmatch(PATTERN, text):
            raise BadParameter("cursor", "the next_cursor of a page")
        created_at, _, sealed = text.partition(".")
        whole = sealed[:-1] if len(sealed) % 4 == 1 else sealed  # A character alone is no byte.
        workflow_id = base64.urlsafe_b64decode(f"{whole}==").decode(errors="replace")
        return cls(min(int(created_at), LATEST_MILLISECONDS), workflow_id.replace("\0", "\ufffd"))
