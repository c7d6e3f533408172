"""The bodies of requests and answers, as components."""

from typing import NamedTuple

from ..answers import STATUSES
from ..arguments import Schema
from ..body import LARGEST_BATCH
from ..catalog import Workflow
from ..explanation import REASONS
from .definitions import component, hoisted
from .names import Names, pascal

WITHOUT_OUTCOME = [status for status in STATUSES if status not in ("SUCCESS", "ERROR")]

ANYTHING: Schema = {}

TEXT: Schema = {"type": "string"}

TEXT_OR_NULL: Schema = {"type": ["string", "null"]}

BYTES: Schema = {"type": "integer", "minimum": 0}

TIME_OR_NULL: Schema = {"type": ["string", "null"], "format": "date-time"}


def record(**members: Schema) -> Schema:
    """An object that has at least these members."""
    return {"type": "object", "properties": members, "required": list(members)}


def maybe(**members: Schema) -> Schema:
    """An object that may have these members."""
    return {"type": "object", "properties": members}


def many(items: Schema, **bounds: int) -> Schema:
    """An array of `items`."""
    return {"type": "array", "items": items, **bounds}


def either(*schemas: Schema) -> Schema:
    """What fits one of the schemas, or several."""
    return {"anyOf": list(schemas)} if len(schemas) > 1 else schemas[0]


def status_of(workflow: Schema, result: Schema) -> Schema:
    """The status of a workflow of this name (a schema), which has such a result."""
    outcome = either(  # A result that is too large may be null by its own type, too.
        component("WithoutOutcome"),
        component("Failed"),
        component("ResultTooLarge"),
        record(status={"const": "SUCCESS"}, result=result),
    )
    # Beside `allOf`, generators of types take `anyOf` for something else that a status may be.
    return {"allOf": [component("Run"), component("Told"), record(workflow=workflow), outcome]}


SCHEMAS: dict[str, Schema] = {
    "StatusName": {
        "type": "string",
        "enum": [*STATUSES],
        "description": "ENQUEUED, DELAYED and PENDING (running) have not ended, the others have.",
    },
    "Links": record(status=TEXT | {"format": "uri-reference"}),
    "Cause": record(name=TEXT, message=TEXT),
    "Error": record(name=TEXT, message=TEXT),
    "Launched": record(
        workflow_id=TEXT,
        workflow=TEXT,
        status=component("StatusName"),
        links=component("Links"),
    ),
    "Batch": record(workflows=many(component("Launched"))),
    "Run": record(
        workflow_id=TEXT,
        workflow=TEXT,
        queue=TEXT_OR_NULL,
        status=component("StatusName"),
        created_at=TIME_OR_NULL,
        updated_at=TIME_OR_NULL,
        started_at=TIME_OR_NULL,
        completed_at=TIME_OR_NULL,
        attempts={"type": "integer", "minimum": 0},
        application_version=TEXT_OR_NULL,
        links=component("Links"),
    ),
    "Told": {"required": ["progress"]}
    | maybe(
        progress=ANYTHING,
        progress_bytes=BYTES | {"description": "Only if it is too large; then it is null."},
        events={
            "type": "object",
            "additionalProperties": ANYTHING,
            "description": "By key, with `events=true`.",
        },
        events_bytes={
            "type": "object",
            "additionalProperties": BYTES,
            "description": "The sizes of events that are too large, by key; these are null.",
        },
        more_events={"type": "boolean", "description": "Only if there are more than are shown."},
    ),
    "WithoutOutcome": record(status={"type": "string", "enum": WITHOUT_OUTCOME}),
    "Failed": record(status={"const": "ERROR"}, error=component("Error")),
    "ResultTooLarge": record(
        status={"const": "SUCCESS"}, result={"type": "null"}, result_bytes=BYTES
    ),
    "Status": status_of(workflow=TEXT, result=ANYTHING),
    "Listed": {
        "allOf": [
            component("Run"),
            maybe(
                progress={"description": "With `progress=true`."},
                progress_bytes=BYTES | {"description": "Only if it is too large; then it is null."},
            ),
        ]
    },
    "Page": record(workflows=many(component("Listed")), next_cursor=TEXT_OR_NULL),
    "Step": record(
        name=TEXT,
        started_at=TIME_OR_NULL,
        completed_at=TIME_OR_NULL,
        error=either(component("Error"), {"type": "null"}),
        child_workflow_id=TEXT_OR_NULL,
    ),
    "Steps": record(workflow_id=TEXT, steps=many(component("Step"))),
    "Explanation": record(
        workflow_id=TEXT,
        workflow=TEXT,
        status=component("StatusName"),
        reason={"type": "string", "enum": [*REASONS]},
        explanation=TEXT | {"description": "One sentence for people."},
        facts={"type": "object"},
        links=component("Links"),
    ),
    "ArgumentError": record(
        pointer=TEXT | {"description": "Where it is in the body (RFC 6901)."}, message=TEXT
    ),
    "Problem": record(
        type=TEXT | {"format": "uri-reference"},
        title=TEXT,
        status={"type": "integer"},
        detail=TEXT,
    ),
}

SCHEMAS["Cause"]["properties"] |= {
    "reference": TEXT
    | {"description": "Where the message is not for callers: what finds it in the worker's log."}
}

SCHEMAS["Error"]["properties"] |= SCHEMAS["Cause"]["properties"] | {
    "attempts": {
        "type": "integer",
        "minimum": 1,
        "description": "How often a step was tried, if it was retried in vain.",
    },
    "cause": component("Cause") | {"description": "What its last attempt has failed with."},
}

SCHEMAS["Steps"]["properties"] |= {
    "more": {"type": "boolean", "description": "Only if there are more than are shown."}
}

SCHEMAS["Problem"]["properties"] |= {
    "errors": many(component("ArgumentError")) | {"description": "What does not fit (422)."},
    "workflows": many(TEXT) | {"description": "The known ones, for an unknown workflow (404)."},
    "workflow_id": TEXT | {"description": "The active duplicate (409)."},
}


class Typed(NamedTuple):
    """A workflow under the label that its names have here, and the schemas of its bodies."""

    workflow: Workflow
    label: str
    calls: Schema
    status: Schema
    signals: dict[str, Schema]


class Bodies:
    """The components, to which workflows are added."""

    def __init__(self) -> None:
        self.schemas = dict(SCHEMAS)
        self._labels = Names()
        self._names = Names(*SCHEMAS)

    def add(self, workflow: Workflow) -> Typed:
        """Add what `workflow` takes and gives, under names of its own."""
        label = self._labels.free(pascal(workflow.name))
        arguments = self._publish(workflow.arguments, f"{label}Arguments")
        result = self._publish(workflow.result, f"{label}Result")
        status = self._names.free(f"{label}Status")
        self.schemas[status] = status_of({"const": workflow.name}, component(result))
        signals = {
            topic: component(self._publish(schema, f"{label}{pascal(topic)}Signal"))
            for topic, schema in workflow.signals.items()
        }
        return Typed(workflow, label, self._calls(arguments), component(status), signals)

    def _publish(self, schema: Schema, wanted: str) -> str:
        """Add a schema and what it consists of; returns the name that it has here."""
        name = self._names.free(wanted)
        self.schemas |= hoisted(schema, name, self._names)
        return name

    def _calls(self, arguments: str) -> Schema:
        """The arguments of one launch, or of a batch."""
        # The one is spelled out: for openapi-typescript an argument with a default is optional in
        # the body itself, and always there in a component.
        return either(
            self.schemas[arguments], many(component(arguments), minItems=1, maxItems=LARGEST_BATCH)
        )
