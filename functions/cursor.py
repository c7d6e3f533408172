"""Where a page of `list` ends: opaque to callers, stable while workflows are added."""

from typing import NamedTuple

from .errors import BadParameter
from .opaque import opened, sealed

LONGEST = 8192
"""Characters of a cursor, which has an id of up to 1,024 characters of up to four bytes in it."""


class Cursor(NamedTuple):
    """The last workflow of a page; `created_at` is milliseconds of the epoch."""

    created_at: int
    workflow_id: str

    def __str__(self) -> str:
        return sealed(self)

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """The cursor that a page has named as the next; raises BadParameter for anything else."""
        try:
            created_at, workflow_id = opened(text)
            if type(created_at) is not int or not 0 <= created_at < 2**63:
                raise ValueError
            if type(workflow_id) is not str or "\0" in workflow_id:
                raise ValueError
            workflow_id.encode()
        except (ValueError, TypeError) as error:
            raise BadParameter("cursor", "the next_cursor of a page") from error
        return cls(created_at, workflow_id)
