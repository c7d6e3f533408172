"""OpenTelemetry: DBOS makes a span of every workflow and step; here they are exported."""

import threading
from collections.abc import Callable
from contextlib import suppress

from opentelemetry import trace
from opentelemetry._logs import NoOpLoggerProvider, set_logger_provider
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from .settings import Settings

FLUSH = 1.0
"""Seconds that the last spans have to leave."""


def export_traces(settings: Settings) -> Callable[[], None]:
    """Export spans as the OTEL_ variables say, if there is an endpoint.

    Returns what sends the last of them, for at most FLUSH seconds.
    """
    if not settings.otlp_endpoint:
        return lambda: None
    resource = Resource.create()
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: settings.app_name}))
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    set_logger_provider(NoOpLoggerProvider())  # DBOS would warn that there is none.

    def flush() -> None:
        # The SDK does not heed the time that it is given.
        last = threading.Thread(target=provider.force_flush, daemon=True)
        with suppress(RuntimeError):  # No thread can be started: spans are not worth the drain.
            last.start()
            last.join(FLUSH)

    return flush
