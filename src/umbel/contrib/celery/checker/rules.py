"""What the checker knows: one row for each thing that is different or missing under Umbel, and what to do instead.

Words in braces are filled in by the part that finds it. Rows that depend on what this version of Umbel can do are asked for
only when it cannot: the readers look at its tables of settings, options, commands and modules.
"""

from __future__ import annotations

from typing import NamedTuple

from umbel.cli.findings import Severity

__all__ = [
    "ACTING_ANYWAY",
    "APP_PARTS",
    "CELERY_APP",
    "INERT_SETTINGS",
    "MISSING_MODULES",
    "PACKAGES",
    "RULES",
    "TASK_EXTRAS",
    "TASK_INERT",
    "Rule",
]


class Rule(NamedTuple):
    """One row."""

    id: str
    severity: Severity
    sentence: str
    advice: str


_ERROR, _WARNING, _NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE

# fmt: off
_ROWS = (
    # -- files
    Rule("unreadable", _WARNING, "The file cannot be read: {why}.", "Check it by hand; the other files were read."),
    # -- imports
    Rule("import-module", _ERROR, "There is no module {module} under Umbel.", "{advice}"),
    Rule("import-name", _ERROR, "{module} has no {name} under Umbel.", "{advice}"),
    Rule("signal-unsent", _WARNING, "The signal {name} can be connected to and is never sent.", "Use another: task_prerun, task_postrun, task_failure, worker_init and worker_ready are sent."),
    Rule("package", _WARNING, "{name} is built on the insides of Celery.", "{advice}"),
    Rule("monkey-patching", _WARNING, "The program patches the standard library for {name}.", "Take it out of what the worker imports: use the pool asyncio for coroutines, or threads."),
    # -- settings: where things are
    Rule("broker", _ERROR, "No backend serves the broker {scheme}://.", "Use one of these: {known}."),
    Rule("result-backend", _ERROR, "No backend keeps results in {scheme}.", "Use one of these: {known}. Or none, where nobody reads results."),
    Rule("transport-options", _ERROR, "These transport options are refused: {why}", "Remove what the backend does not have."),
    Rule("visibility-timeout", _NOTE, "visibility_timeout has no effect: a message is leased, and the lease is renewed while the task runs.", "Leave it while Celery's workers share the broker, then remove it. See worker_lease."),
    Rule("old-broker-parts", _ERROR, "{name} does not make up the URL of the broker here.", "Write it into broker_url."),
    # -- settings: what they mean
    Rule("setting-value", _ERROR, "The value is refused: {why}", "Give it a value of that kind."),
    Rule("setting-contradiction", _ERROR, "{why}", "Change one of the two."),
    Rule("setting-misspelt", _WARNING, "There is no setting {name}; it is kept and nothing reads it.", "Did you mean {suggestion}?"),
    Rule("setting-unknown", _NOTE, "{name} is no setting of Celery's or Umbel's. It is kept in app.conf, as Celery does.", "Nothing, if the program reads it itself."),
    Rule("setting-old-name", _NOTE, "{name} is an old name. It is understood, with a warning.", "Call it {new}."),
    Rule("setting-inert", _NOTE, "{name} is accepted and has no effect.", "Nothing; or remove it."),
    Rule("early-acks", _NOTE, "task_acks_late is not set: messages are acknowledged before their tasks run, as in Celery, and a crash loses what was running.", "Set task_acks_late = True for at-least-once, where tasks may run twice; False keeps this, and ends the line in the worker's log."),
    Rule("acks-on-failure", _WARNING, "{name} has no effect: with late acknowledgement a task that failed is acknowledged.", "Raise Reject(requeue=True) in the task, or let it retry."),
    Rule("prefetch", _NOTE, "{name} has no effect: a worker takes what it can run.", "Nothing; or remove it."),
    Rule("pickle", _WARNING, "{name} lets pickle in: whoever can write to the broker can run any code in the workers.", "It works as in Celery. Use json, whose dialect here holds dates, decimals and UUIDs too."),
    Rule("signed-messages", _ERROR, "{name}: messages are neither signed nor checked here.", "Guard the broker with TLS and a password, and set another serializer than auth."),
    Rule("pool", _ERROR, "There is no pool {name} in this version.", "Use {known}. For many tasks that wait: asyncio or threads."),
    Rule("custom-worker-class", _ERROR, "{name} is not used: the parts of the worker cannot be replaced.", "Use the signals, middleware or a task base class."),
    Rule("worker-setting", _WARNING, "{name} has no effect in this version.", "{advice}"),
    Rule("rate-limit", _WARNING, "rate_limit has no effect in this version: the task runs as fast as it comes.", "Give it a queue of its own and a worker with -c 1, or wait in the task."),
    Rule("beat", _WARNING, "Nothing sends periodic tasks in this version: {name}.", "Let cron or a systemd timer run `umbel -A PROJECT call TASK`."),
    # -- tasks
    Rule("task-option-misspelt", _WARNING, "Tasks have no option {name}; it becomes an attribute.", "Did you mean {suggestion}?"),
    Rule("task-option-unknown", _NOTE, "Tasks have no option {name}; it becomes an attribute, as in Celery.", "Nothing, if the program reads it itself."),
    Rule("task-option-inert", _WARNING, "The task option {name} has no effect.", "{advice}"),
    Rule("call-option", _NOTE, "{name} of a call is ignored.", "Remove it: it belongs to AMQP, or is no option at all."),
    Rule("custom-request", _ERROR, "{name} of a task is not used: there is no Request or Strategy of Celery's worker.", "Override before_start, on_success, on_failure, on_retry or __call__."),
    Rule("task-backend", _ERROR, "A task has no backend of its own.", "Use app.backend, or the setting result_backend for all tasks."),
    Rule("wait-in-task", _NOTE, "The result of another call is waited for inside a task: it raises RuntimeError, as in Celery.", "Use a chain or a chord, or link a callback."),
    Rule("wait-in-task-forced", _NOTE, "The result of another call is waited for inside a task; when every worker waits so, none is left.", "Use a chain or a chord, or link a callback."),
    Rule("chord-results", _WARNING, "A chord needs a result backend, and no result_backend was seen in the settings.", "Set result_backend."),
    # -- the app and its parts
    Rule("app-attribute", _ERROR, "The app has no {name} here.", "{advice}"),
    Rule("app-part", _WARNING, "Celery({name}=...) is accepted and not used.", "Remove it, or use the signals and settings."),
    Rule("part-attribute", _ERROR, "{part} has no {name} here.", "{advice}"),
    Rule("control-command", _WARNING, "Workers answer the command {name} with an error.", "It says: {why}."),
    Rule("result-callbacks", _WARNING, "get({name}=...) is taken and never called: nothing polls.", "Look at result.state."),
    # -- process files
    Rule("command-start", _NOTE, "This starts Celery, where it is installed.", "Start `python -m umbel.celery` in the place of `celery`; the rest may stay."),
    Rule("command-missing", _ERROR, "There is no command {name}.", "{advice}"),
    Rule("command-option-refused", _ERROR, "The worker refuses {name}.", "{advice}"),
    Rule("command-option-unknown", _ERROR, "There is no option {name}.", "Remove it."),
    Rule("command-option-inert", _NOTE, "{name} is accepted and changes nothing.", "Nothing; or remove it."),
)
# fmt: on

RULES = {rule.id: rule for rule in _ROWS}
"""By id."""

_WORKER: dict[str, str] = {
    "worker_direct": "Give the worker a queue of its own with -Q.",
    "worker_state_db": "Nothing: revocations are kept in the broker.",
    "worker_eta_task_limit": "Nothing: tasks with an eta wait in the broker.",
    "worker_soft_shutdown_timeout": "Set worker_shutdown_timeout.",
    "worker_enable_remote_control": "Workers obey remote control on Redis: guard who can write to it.",
    "worker_cancel_long_running_tasks_on_connection_loss": "Nothing: a run that has lost its lease is stopped.",
    "worker_deduplicate_successful_tasks": "Make the tasks safe to run twice.",
    "worker_logfile": "Start the worker with --logfile.",
    "worker_pidfile": "Start the worker with --pidfile.",
    "worker_uid": "Let the service manager choose the user.",
    "worker_gid": "Let the service manager choose the group.",
    "worker_umask": "Let the service manager set it.",
    "broker_read_url": "Set broker_url: there is one broker for both directions.",
    "broker_write_url": "Set broker_url: there is one broker for both directions.",
    "broker_transport": "Write it into broker_url.",
    "broker_connection_retry": "Set broker_connection_max_retries.",
    "task_retry_on_worker_lost": "Set task_acks_late and task_reject_on_worker_lost.",
    "task_allow_error_cb_on_chord_header": "Link errbacks to the tasks of the header themselves.",
    "task_create_missing_queue_type": "Nothing, unless the broker is RabbitMQ.",
    "task_queue_max_priority": "Nothing, unless the broker is RabbitMQ.",
    "result_backend_always_retry": "Nothing: an outage is waited out.",
    "result_chord_join_timeout": "Nothing: no worker waits to join a chord.",
    "override_backends": "Use a backend that Umbel has.",
}
INERT_SETTINGS: dict[str, tuple[str, str]] = {
    **{name: ("worker-setting", advice) for name, advice in _WORKER.items()},
    **dict.fromkeys(("worker_prefetch_multiplier", "worker_disable_prefetch"), ("prefetch", "")),
    **dict.fromkeys(
        ("worker_autoscaler", "worker_consumer", "worker_agent", "worker_timer"), ("custom-worker-class", "")
    ),
    **dict.fromkeys(
        ("task_acks_on_failure_or_timeout", "task_acks_on_failure", "task_acks_on_timeout"),
        ("acks-on-failure", ""),
    ),
    **dict.fromkeys(
        ("security_certificate", "security_cert_store", "security_key", "security_key_password"),
        ("signed-messages", ""),
    ),
    **dict.fromkeys(
        ("broker_host", "broker_port", "broker_user", "broker_password", "broker_vhost"),
        ("old-broker-parts", ""),
    ),
    "task_default_rate_limit": ("rate-limit", ""),
}
"""Settings that are missed where they are only recognised: the rule, and its advice where that differs. Others are `setting-inert`."""

MISSING_MODULES: dict[str, str] = {
    "celery.bootsteps": "There are no boot steps: use the signals worker_init, worker_process_init and worker_ready.",
    "celery.worker": "The inside of the worker is another one: use signals, task base classes or `umbel.testing`.",
    "celery.concurrency": "The pools are Umbel's own: choose one with worker_pool or -P.",
    "celery.apps": "Start a worker with app.worker_main([...]), or in tests with celery.contrib.testing.worker.",
    "celery.beat": "Schedulers of one's own build on Scheduler and ScheduleEntry.",
    "celery.backends": "Result stores are chosen by URL (result_backend); there are no classes to build upon.",
    "celery.security": "Messages are not signed here: guard the broker with TLS and a password.",
    "celery.loaders": "Give the settings by config_from_object, and the modules by include or autodiscover_tasks.",
    "celery.bin": "Commands of one's own: a script with click. Options of one's own: the environment.",
    "celery.events": "Receivers, dispatchers and State are in umbel.monitoring.",
    "celery.utils": "A helper of Celery's: use the standard library, or copy it.",
    "celery.platforms": "A helper of Celery's: use the standard library or the service manager.",
    "celery.fixups": "Django is set up by umbel.contrib.django.",
    "celery.contrib": "It is not there; look into umbel.testing and umbel.contrib.",
    "celery.exceptions": "Catch what Umbel raises: see umbel.errors.",
    "kombu": "Not all of kombu is there: docs/guides/celery-programs.md says what is. The rest needs kombu itself, in another process.",
    "billiard": "Use multiprocessing.",
    "celery": "Use what `umbel` exports in its place.",
}
"""Advice for what is not there, by the longest name that fits."""

PACKAGES: dict[str, str] = {
    "django_celery_beat": "Try it. Celery's own beat can stay, too, and send to Umbel's workers over Redis.",
    "redbeat": "Try it. Celery's own beat can stay, too, and send to Umbel's workers over Redis.",
    "celery_batches": "It replaces Celery's consumer. Collect in a table or a list, and let one task empty it.",
    "django_celery_results": "Results can be kept in the project's database: umbel.contrib.django and result_backend = 'django-db'.",
    "celery_once": "Try it: nobody has promised that it works.",
    "celery_singleton": "Try it: nobody has promised that it works.",
    "celery_pool_asyncio": "Use the pool asyncio: `async def` tasks run as they are.",
    "celery_aio_pool": "Use the pool asyncio: `async def` tasks run as they are.",
    "tenant_schemas_celery": "Try it: nobody has promised that it works.",
}

CELERY_APP: dict[str, str] = {
    "setup_security": "Messages are not signed here: guard the broker with TLS and a password.",
    "producer_or_acquire": "Send with app.send_task().",
    "producer_pool": "Send with app.send_task().",
    "default_producer": "Send with app.send_task().",
    "default_connection": "Check the broker with app.connection_for_write().ensure_connection().",
    "pool": "Check the broker with app.connection_for_write().ensure_connection().",
    "broker_connection": "Check the broker with app.connection_for_write().ensure_connection().",
    "Worker": "Use app.worker_main([...]).",
    "WorkController": "Use app.worker_main([...]).",
    "Beat": "Let cron run `umbel call`.",
    "log": "Set up logging with the signals setup_logging and after_setup_logger.",
    "chunks": "Use task.chunks(...).",
    "prepare_config": "Use app.conf.",
    "subclass_with_self": "Subclass the class itself.",
    "thread_oid": "Use app.oid.",
    "annotations": "Use the setting task_annotations.",
    "autofinalize": "Call app.finalize().",
    "user_options": "",
    "steps": "",
}
"""What Celery's apps have beside their methods, with what to use where it is not there."""

APP_PARTS = ("loader", "amqp", "events", "log", "control", "tasks", "fixups")
"""Arguments of Celery(...) that name classes."""

ACTING_ANYWAY = frozenset(
    {
        "beat_cron_starting_deadline",
        "beat_max_loop_interval",
        "beat_schedule",
        "beat_schedule_filename",
        "beat_scheduler",
        "beat_sync_every",
        "control_exchange",
        "event_exchange",
        "task_annotations",
        "task_default_rate_limit",
        "task_repr_maxlevels",
        "task_send_sent_event",
        "worker_disable_rate_limits",
        "worker_enable_remote_control",
        "worker_pool_restarts",
        "worker_send_task_events",
    }
)
"""Settings that are listed as recognised, and that a program for Celery has obeyed. A test compares it with the code."""

TASK_EXTRAS = frozenset(
    {"bind", "name", "base", "shared", "lazy", "filter", "run", "abstract"}
    | {"pydantic", "pydantic_strict", "pydantic_context", "pydantic_dump_kwargs"}
)
"""Arguments of a task's decorator that are no options."""

_FAILED_IS_ACKED = "Raise Reject(requeue=True) in the task, or let it retry."
TASK_INERT: dict[str, tuple[str, str]] = {
    "acks_on_failure_or_timeout": ("task_acks_on_failure_or_timeout", _FAILED_IS_ACKED),
    "acks_on_failure": ("task_acks_on_failure", _FAILED_IS_ACKED),
    "acks_on_timeout": ("task_acks_on_timeout", _FAILED_IS_ACKED),
    "retry_on_worker_lost": ("task_retry_on_worker_lost", "Set acks_late and reject_on_worker_lost."),
}
"""Options of a task that nothing reads while the setting beside them is inert, with what to do instead."""
