"""Whether DBOS stores portable JSON; what it stores in another form is left to it as it is."""

from typing import Any

from dbos import DBOSPortableJSONSerializer

PORTABLE = DBOSPortableJSONSerializer().name()


def is_portable(serializer: Any) -> bool:
    """Whether a serializer of DBOS's writes portable JSON."""
    return bool(serializer.name() == PORTABLE)
