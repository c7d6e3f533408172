"""Every SQL statement over DBOS's own tables, where `DBOSClient` has no method that fits."""

import json
import math
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, text

PORTABLE = "portable_json"

OUTCOME = text("""
    select s.serialization,
           coalesce(o.output, s.output) as output,
           coalesce(o.error, s.error) as error,
           e.value as progress,
           e.serialization as progress_serialization
    from dbos.workflow_status s
    left join dbos.workflow_output o on o.workflow_uuid = s.workflow_uuid
    left join dbos.workflow_events e on e.workflow_uuid = s.workflow_uuid and e.key = 'progress'
    where s.workflow_uuid = :workflow_id
""")


@dataclass(frozen=True)
class Outcome:
    """What a workflow has said of itself: its result, its error, its `progress` event."""

    result: Any
    error: Any
    progress: Any


def outcome(engine: Engine, workflow_id: str) -> Outcome:
    """Read the outcome in one statement.

    `DBOSClient` would need three, and would unpickle what another client has pickled.
    """
    with engine.connect() as connection:
        row = connection.execute(OUTCOME, {"workflow_id": workflow_id}).one()
    return Outcome(
        result=_value(row.output, row.serialization),
        error=_value(row.error, row.serialization),
        progress=_value(row.progress, row.progress_serialization),
    )


def _value(stored: str | None, serialization: str | None) -> Any:
    """What is stored as portable JSON; None for anything else, and for what is not finite."""
    if stored is None or serialization != PORTABLE:
        return None
    try:
        return json.loads(stored, parse_constant=lambda _: None, parse_float=_finite)
    except (ValueError, RecursionError):  # Other languages nest deeper and count further.
        return None


def _finite(number: str) -> float | None:
    value = float(number)
    return value if math.isfinite(value) else None
