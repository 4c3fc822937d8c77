"""Sends spans to an OpenTelemetry collector, when OpenTelemetry's own variables name one; else nothing is loaded."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
SWITCHED_OFF = "OTEL_SDK_DISABLED"


def collector(environ: Mapping[str, str]) -> str | None:
    """The variable that names a collector, None where none is to get spans."""
    if environ.get(SWITCHED_OFF, "").lower() == "true":
        return None
    return next((name for name in ENDPOINTS if environ.get(name)), None)


@contextmanager
def exported_spans(environ: Mapping[str, str]) -> Iterator[bool]:
    """Export spans while the block runs, if a collector is configured; whether it is."""
    if collector(environ) is None:
        yield False
        return
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = Resource.create({"service.name": "sluice", "service.version": version("sluicebot")})
    provider = TracerProvider(resource=named)
    # The exporter reads the address and the headers from the same variables.
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    try:
        yield True
    finally:
        provider.shutdown()
