"""The trace that a launch is part of, so that the workflow continues it."""

import sys
from typing import TYPE_CHECKING

from starlette.requests import Request

if TYPE_CHECKING:
    from opentelemetry.context import Context


def trace_context(request: Request) -> "Context | None":
    """The context of the span that is active here, or else that of the caller (W3C Trace Context).

    OpenTelemetry is imported only where there is a trace, to keep cold starts short.
    """
    if "traceparent" not in request.headers and "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry import context, trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    if trace.get_current_span().get_span_context().is_valid:
        return context.get_current()
    return TraceContextTextMapPropagator().extract(request.headers)
