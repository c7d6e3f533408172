"""OpenTelemetry: DBOS makes a span of every workflow and step; here they are exported."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry._logs import NoOpLoggerProvider, set_logger_provider
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from .settings import Settings

FLUSH = 2000
"""Milliseconds that the last spans have to leave."""


@contextmanager
def traces(settings: Settings) -> Iterator[None]:
    """Export spans as the OTEL_EXPORTER_OTLP_* variables say, if there is an endpoint."""
    if not settings.otlp_endpoint:
        yield
        return
    resource = Resource.create({SERVICE_NAME: settings.app_name})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    set_logger_provider(NoOpLoggerProvider())  # DBOS would warn that there is none.
    try:
        yield
    finally:
        provider.force_flush(FLUSH)
