"""The status of another workflow, as a workflow records that it has seen it."""

from typing import Any

from dbos import DBOSPortableJSONSerializer, WorkflowStatus, _serialization

from .portable import PORTABLE
from .values import jsonable

STATUS = "workflow_status"
"""The only key of what is recorded of a status."""

SERIALIZER = DBOSPortableJSONSerializer()


def recorded(result: Any) -> Any:
    """What is recorded of a status, or of a list of some; anything else is as it is."""
    if isinstance(result, list):
        return [recorded(each) for each in result]
    if not isinstance(result, WorkflowStatus):
        return result
    held = dict(vars(result))
    if error := held.pop("error", None):
        held["error"], _ = _serialization.serialize_exception(error, PORTABLE, SERIALIZER)
    return {STATUS: jsonable(held, "the status of a workflow")}


def restored(stored: Any) -> Any:
    """The status that was recorded, or the list of some; anything else is as it is."""
    if isinstance(stored, list):
        return [restored(each) for each in stored]
    if not isinstance(stored, dict) or set(stored) != {STATUS}:
        return stored
    status = WorkflowStatus()
    vars(status).update(stored[STATUS])
    if text := stored[STATUS].get("error"):
        status.error = _serialization.deserialize_exception(text, PORTABLE, SERIALIZER)
    return status
