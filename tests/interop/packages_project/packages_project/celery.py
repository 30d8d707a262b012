"""Its app, with what watches it."""

import json
import os

import sentry_sdk
from celery import Celery
from celery.signals import worker_process_init
from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.transport import Transport

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "packages_project.settings")


def note(file, **facts):
    with open(os.path.join(os.environ["PACKAGES_FOLDER"], file), "a") as out:
        out.write(json.dumps(facts) + "\n")


class ToFile(Transport):
    """Sentry's events, written down."""

    def capture_envelope(self, envelope):
        for item in envelope.items:
            event = item.get_event() or item.get_transaction_event()
            if event:
                trace_context = event["contexts"]["trace"]
                exceptions = [entry["type"] for entry in event.get("exception", {}).get("values", [])]
                note(
                    "sentry.txt",
                    type=item.type,
                    name=event.get("transaction"),
                    trace=trace_context["trace_id"],
                    op=trace_context.get("op"),
                    exceptions=exceptions,
                    spans=[span["op"] for span in event.get("spans", [])],
                    task_id=event.get("tags", {}).get("celery_task_id"),
                )


class Spans(SpanExporter):
    """OpenTelemetry's spans, written down."""

    def export(self, spans):
        for span in spans:
            parent = span.parent.span_id if span.parent else None
            context = span.get_span_context()
            note("spans.txt", name=span.name, trace=context.trace_id, span=context.span_id, parent=parent)
        return SpanExportResult.SUCCESS


def watch(**unused):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Spans()))
    trace.set_tracer_provider(provider)
    CeleryInstrumentor().instrument()


sentry_sdk.init(
    dsn="https://key@sentry.invalid/1",
    transport=ToFile,
    traces_sample_rate=1.0,
    integrations=[CeleryIntegration()],
    default_integrations=False,
)
worker_process_init.connect(watch, weak=False)

app = Celery("packages_project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.ONCE = {
    "backend": "celery_once.backends.Redis",
    "settings": {"url": os.environ["PACKAGES_REDIS"], "default_timeout": 60},
}
app.autodiscover_tasks()
