"""What can go wrong in a function. A docstring is the message, filled with the attributes."""

from collections.abc import Mapping
from inspect import cleandoc
from typing import Any, ClassVar

REALM = 'Bearer realm="dbos-functions"'
"""How to authenticate (RFC 6750)."""


class BadSetting(Exception):
    """The functions refuse to start; the message names the variable."""


class FunctionError(Exception):
    """The function failed; its log says why."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    headers: ClassVar[Mapping[str, str]] = {}
    members: ClassVar[tuple[str, ...]] = ()
    """Attributes that become members of the answer, beside those of RFC 9457."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)
        shown = {name: shortened(value) for name, value in attributes.items()}
        super().__init__(cleandoc(type(self).__doc__ or "").format(**shown))


class MalformedBody(FunctionError):
    """The body is not JSON: {reason}."""

    status = 400
    title = "Malformed body"


class MalformedRequest(FunctionError):
    """The server cannot read this request as HTTP/1.1, or does not know its method."""

    status = 400
    title = "Malformed request"


class UnknownParameter(FunctionError):
    """There is no query parameter {parameter!r} here."""

    status = 400
    title = "Unknown parameter"


class BadParameter(FunctionError):
    """The query parameter {parameter!r} has to be {wanted}."""

    status = 400
    title = "Bad parameter"

    def __init__(self, parameter: str, wanted: str) -> None:
        super().__init__(parameter=parameter, wanted=wanted)


class NotWithBatch(FunctionError):
    """The query parameter {parameter!r} cannot be used with a batch."""

    status = 400
    title = "Bad parameter"


class NotWithKey(FunctionError):
    """The query parameter {parameter!r} cannot be used with an Idempotency-Key."""

    status = 400
    title = "Bad parameter"


class NotWithEventStream(FunctionError):
    """The query parameter {parameter!r} cannot be used with a stream of events."""

    status = 400
    title = "Bad parameter"


class PartitionKeyMissing(FunctionError):
    """The queue {queue!r} of this workflow is partitioned: partition_key has to be given."""

    status = 400
    title = "Partition key missing"


class PartitionKeyMeaningless(FunctionError):
    """The queue {queue!r} of this workflow is not partitioned: partition_key means nothing."""

    status = 400
    title = "Partition key meaningless"


class BadHeader(FunctionError):
    """The header {header} has to be {wanted}."""

    status = 400
    title = "Bad header"


class BeyondLimits(FunctionError):
    """Something in the request is larger than the database can take."""

    status = 400
    title = "Beyond the limits"


class PreflightRefused(FunctionError):
    """The browser may not send this request: {reason}."""

    status = 400
    title = "Preflight refused"


class NoCredentials(FunctionError):
    """Credentials are required here."""

    status = 401
    title = "No credentials"
    headers: ClassVar[Mapping[str, str]] = {"WWW-Authenticate": REALM}


class BadCredentials(FunctionError):
    """The credentials are not accepted."""

    status = 401
    title = "Bad credentials"
    headers: ClassVar[Mapping[str, str]] = {"WWW-Authenticate": f'{REALM}, error="invalid_token"'}


class CrossSiteRequest(FunctionError):
    """A page of another origin may not send this: CORS_ORIGINS does not allow it."""

    status = 403
    title = "Cross-site request"


class NothingHere(FunctionError):
    """There is nothing at this path."""

    status = 404
    title = "Not found"


class UnknownWorkflow(FunctionError):
    """There is no workflow {workflow!r}. Known workflows: {known}."""

    status = 404
    title = "Unknown workflow"
    members = ("workflows",)

    def __init__(self, workflow: str, workflows: list[str]) -> None:
        super().__init__(workflow=workflow, workflows=workflows, known=", ".join(workflows))


class UnknownWorkflowId(FunctionError):
    """There is no workflow with the id {workflow_id!r}."""

    status = 404
    title = "Unknown workflow id"


class MethodNotAllowed(FunctionError):
    """{method} is not allowed here. Allowed: {allowed}."""

    status = 405
    title = "Method not allowed"

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(method=method, allowed=allowed, headers={"Allow": allowed})


class DuplicateWorkflow(FunctionError):
    """The workflow {workflow_id!r} holds this deduplication id already."""

    status = 409
    title = "Duplicate workflow"
    members = ("workflow_id",)


class ReplayIncomplete(FunctionError):
    """Some of what was launched with this Idempotency-Key has been deleted."""

    status = 409
    title = "Replay incomplete"


class WrongState(FunctionError):
    """The workflow {workflow_id!r} is {state}, so it cannot be {done}."""

    status = 409
    title = "Wrong state"


class BodyTooSlow(FunctionError):
    """The body has not arrived within {seconds:g} seconds."""

    status = 408
    title = "Body too slow"


class BodyTooLarge(FunctionError):
    """The body is larger than {limit} bytes."""

    status = 413
    title = "Body too large"


class ValueTooLarge(FunctionError):
    """The value is larger than {limit} bytes of JSON."""

    status = 413
    title = "Value too large"


class UnsupportedMediaType(FunctionError):
    """The body has to be application/json, not {media_type!r}."""

    status = 415
    title = "Unsupported media type"
    headers: ClassVar[Mapping[str, str]] = {"Accept": "application/json"}


class UnsupportedEncoding(FunctionError):
    """The body must not be encoded as {encoding!r}."""

    status = 415
    title = "Unsupported encoding"
    headers: ClassVar[Mapping[str, str]] = {"Accept-Encoding": "identity"}


class InvalidArguments(FunctionError):
    """The arguments do not fit the workflow."""

    status = 422
    title = "Invalid arguments"
    members = ("errors",)


class InvalidSignal(InvalidArguments):
    """The value does not fit what the workflow expects."""

    title = "Invalid signal"


class KeyReused(FunctionError):
    """This Idempotency-Key has been used before, with another body."""

    status = 422
    title = "Idempotency key reused"


class HeadersTooLarge(FunctionError):
    """The request line and the headers may have {limit} bytes, and there may be {count} headers."""

    status = 431
    title = "Headers too large"


class NoWorkerYet(FunctionError):
    """No worker of the application {application!r} has started yet, so no workflow is known."""

    status = 503
    title = "No worker yet"
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "5"}


class CatalogOutdated(FunctionError):
    """The catalog is that of an older release: its workers have to be upgraded first."""

    status = 503
    title = "Catalog outdated"
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "30"}


class UnusableSchema(FunctionError):
    """What the worker has published of the workflow {workflow!r} is no schema that can be used."""

    status = 503
    title = "Unusable schema"
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "30"}


class DatabaseUnavailable(FunctionError):
    """The database cannot be reached at the moment."""

    status = 503
    title = "Database unavailable"
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "2"}


class DatabaseRefused(FunctionError):
    """The database has refused this; the log says why."""

    status = 503
    title = "Database refused"
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "30"}


class KeysUnavailable(FunctionError):
    """The credentials cannot be checked at the moment."""

    status = 503
    title = "Keys unavailable"
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "5"}


def shortened(value: Any, limit: int = 200) -> Any:
    """Keep a long text, such as what a caller has sent, from filling the answer."""
    return f"{value[:limit]}…" if isinstance(value, str) and len(value) > limit else value
