"""Every setting, one a line: its name, type, default and meaning.

The names are Celery's lower-case ones, so that a configuration can move here unread; what Umbel adds has names
of the same form. ``ACTING`` are the settings that Umbel obeys. ``RECOGNISED`` are those of Celery 5.7 that it
accepts and does not act on: some belong to features that work otherwise here, some to servers that Umbel does not
talk to. A recognised setting is checked for its type like any other.

Long because it is a table, and the table must be whole.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

__all__ = ["ACTING", "OLD_NAMES", "RECOGNISED", "SETTINGS", "Kind", "Setting"]

Kind = Literal["bool", "int", "float", "duration", "str", "list", "dict", "url", "policy", "any"]


class Setting(NamedTuple):
    """One row."""

    name: str
    kind: Kind
    """What a value must be. ``duration``: seconds or a timedelta. ``url``: a str, or a list of them (failover)."""
    default: Any
    """A default of None means that None is allowed."""
    help: str
    old: tuple[str, ...] = ()
    """Names of old beside ``NAME``, ``CELERY_NAME``: translated with a warning."""
    choices: tuple[Any, ...] = ()
    secret: bool = False
    """Masked in reports: holds a password or a key."""
    optional: bool = False
    """None is allowed although it is not the default."""


# fmt: off
ACTING: tuple[Setting, ...] = (
    # -- broker
    Setting("broker_url", "url", None, "Where messages go. Unset: a SQLite file in one fixed place for the whole project. Several, joined by ';' or as a list: failover.", secret=True),
    Setting("broker_transport_options", "dict", {}, "Options of the broker's backend, such as global_keyprefix or master_name."),
    Setting("broker_connection_retry_on_startup", "bool", True, "The worker waits for a broker that is not there when it starts, instead of exiting.", optional=True),
    Setting("broker_connection_max_retries", "int", None, "Attempts to reconnect before the worker gives up. None or 0: it goes on for ever."),
    Setting("broker_send_timeout", "duration", 5.0, "Seconds within which sending a message succeeds or fails, retries included."),
    Setting("broker_use_ssl", "any", False, "Redis: TLS, True or a dict of TLS options such as ssl_ca_certs."),
    Setting("broker_pool_limit", "int", 10, "Redis: connections that the threads of a process have open at a time to send. None or 0: no limit.", optional=True),
    Setting("broker_connection_timeout", "duration", 4.0, "Redis: seconds until an attempt to connect is given up."),
    # -- results
    Setting("result_backend", "url", None, "Where results go. Unset: the embedded SQLite file when no broker is set either; otherwise no results are kept.", secret=True),
    Setting("result_backend_transport_options", "dict", {}, "Options of the result store's backend."),
    Setting("redis_backend_use_ssl", "any", None, "TLS to the result store on Redis, as broker_use_ssl."),
    Setting("redis_socket_timeout", "duration", 120.0, "Seconds to wait for an answer of the result store on Redis. Unset: 10."),
    Setting("redis_socket_connect_timeout", "duration", None, "Seconds to wait for a connection to it."),
    Setting("redis_socket_keepalive", "bool", False, "TCP keepalive on that connection. Unset: on."),
    Setting("result_expires", "duration", 86400.0, "Seconds a result is kept. None: for ever.", old=("CELERY_TASK_RESULT_EXPIRES",), optional=True),
    Setting("result_failure_expires", "duration", None, "The same for failed calls, when it differs."),
    Setting("result_serializer", "str", "json", "Serializer of results."),
    Setting("result_compression", "str", None, "Compression of stored results."),
    Setting("result_extended", "bool", False, "Results also hold name, args, kwargs, worker, retries and queue."),
    Setting("accept_content", "list", ["json"], "Serializers or content types that a worker, and who reads a result, agree to decode."),
    Setting("result_accept_content", "list", None, "The same for results alone. None: as accept_content."),
    # -- time, modules
    Setting("enable_utc", "bool", True, "Times in messages are written in UTC, not in the timezone setting."),
    Setting("timezone", "str", None, "Name of the local time zone, such as Europe/Oslo: what a naive eta means when enable_utc is off. None: UTC."),
    Setting("imports", "list", [], "Modules that a worker imports when it starts."),
    Setting("include", "list", [], "More of them; Umbel(include=...) sets it."),
    # -- tasks
    Setting("task_acks_late", "bool", True, "A message is acknowledged when its task has ended. False: when it begins; a crash then loses it.", old=("CELERY_ACKS_LATE",)),
    Setting("task_reject_on_worker_lost", "bool", True, "With late acknowledgement: a task whose process died is delivered again, up to task_max_deliveries times.", optional=True),
    Setting("task_max_deliveries", "int", 3, "Deliveries of one message, crashes counted, before it goes to the dead letters."),
    Setting("task_always_eager", "bool", False, "delay() and apply_async() run the task in place, as apply() does. For tests.", old=("CELERY_ALWAYS_EAGER",)),
    Setting("task_eager_propagates", "bool", False, "Eager runs raise the task's exception in the caller.", old=("CELERY_EAGER_PROPAGATES_EXCEPTIONS",)),
    Setting("task_store_eager_result", "bool", False, "Eager runs also write to the result store."),
    Setting("task_serializer", "str", "json", "Serializer of arguments."),
    Setting("task_compression", "str", None, "Compression of messages.", old=("CELERY_MESSAGE_COMPRESSION",)),
    Setting("task_protocol", "int", 2, "Version of Celery's message protocol that is written.", choices=(1, 2)),
    Setting("task_ignore_result", "bool", False, "Keep no results unless a task or a call says otherwise."),
    Setting("task_store_errors_even_if_ignored", "bool", False, "Keep the failures of tasks whose results are ignored."),
    Setting("task_track_started", "bool", False, "Write the state STARTED when a task begins."),
    Setting("task_time_limit", "duration", None, "Hard limit of a run, seconds: its process is killed.", old=("CELERYD_TASK_TIME_LIMIT",)),
    Setting("task_soft_time_limit", "duration", None, "Soft limit, seconds: SoftTimeLimitExceeded is raised in the task.", old=("CELERYD_TASK_SOFT_TIME_LIMIT",)),
    Setting("task_publish_retry", "bool", True, "Try again when a message cannot be sent."),
    Setting("task_publish_retry_policy", "policy", {"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 1}, "How: max_retries (None: until broker_send_timeout), interval_start, interval_step, interval_max in seconds."),
    # -- routing
    Setting("task_default_queue", "str", "celery", "The queue when nothing else is said."),
    Setting("task_default_exchange", "str", None, "Exchange of the default queue."),
    Setting("task_default_exchange_type", "str", "direct", "Type of exchanges for which none is given."),
    Setting("task_default_routing_key", "str", None, "Routing key of the default queue."),
    Setting("task_default_priority", "int", None, "Priority of calls that set none: -100..100, larger is sooner. None: 0."),
    Setting("task_inherit_parent_priority", "bool", False, "A call made by a task takes the priority of that task."),
    Setting("task_queues", "any", None, "The queues: a list of names or Queue objects, or a dict from names to {'exchange', 'exchange_type', 'routing_key'}."),
    Setting("task_create_missing_queues", "bool", True, "A queue that is not in task_queues may be named all the same."),
    Setting("task_routes", "any", None, "Which queue a task goes to: a dict from names, globs or regular expressions, a function, or a list of those."),
    # -- worker
    Setting("worker_concurrency", "any", None, "How many tasks run at a time. None or 'auto': one per CPU.", old=("CELERYD_CONCURRENCY",)),
    Setting("worker_pool", "str", "prefork", "What runs them.", old=("CELERYD_POOL",), choices=("prefork", "processes", "threads", "asyncio", "gevent", "eventlet", "solo")),
    Setting("flow_keep_failed", "bool", True, "A call of a chain or a chord that has failed becomes a dead letter: requeued, it runs again, and the workflow goes on from there."),
    Setting("dead_letter_expires", "duration", 15552000.0, "Seconds a dead letter is kept, 180 days. None: until it is requeued or deleted.", optional=True),
    Setting("dead_letter_limit", "int", 100_000, "Dead letters kept of each queue, the newest. None: any number.", optional=True),
    Setting("worker_lease", "duration", 25.0, "Seconds a worker holds a message unless it renews, which it does ten times as often while it lives. After a power cut, others wait so long; an outage of the broker that is shorter repeats nothing."),
    Setting("worker_shutdown_timeout", "duration", None, "Grace, seconds: how long a warm shutdown waits for running tasks before they are handed back. None: until they end."),
    Setting("worker_max_tasks_per_child", "int", None, "Tasks that a child process runs before it is replaced.", old=("CELERYD_MAX_TASKS_PER_CHILD",)),
    Setting("worker_max_memory_per_child", "int", None, "KiB to which a child may grow before it is replaced.", old=("CELERYD_MAX_MEMORY_PER_CHILD",)),
    Setting("worker_health_address", "str", None, "Where the worker answers health checks over HTTP, at /live and /ready: port or host:port (without a host, 127.0.0.1). As --health."),
    Setting("worker_hijack_root_logger", "bool", False, "The worker removes the handlers of the root logger before it sets up its own.", old=("CELERYD_HIJACK_ROOT_LOGGER",)),
    Setting("worker_log_color", "bool", None, "Colours in the log. None: when it goes to a terminal.", old=("CELERYD_LOG_COLOR",)),
    Setting("worker_log_format", "str", "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s", "Form of the worker's log lines; 'json': one JSON object each.", old=("CELERYD_LOG_FORMAT",)),
    Setting("worker_task_log_format", "str", "[%(asctime)s: %(levelname)s/%(processName)s] %(task_name)s[%(task_id)s]: %(message)s", "Form of lines that are logged inside a task.", old=("CELERYD_TASK_LOG_FORMAT",)),
    Setting("worker_log_datefmt", "str", None, "Form of dates in the log."),
    Setting("worker_redirect_stdouts", "bool", True, "What tasks print goes to the log.", old=("CELERY_REDIRECT_STDOUTS",)),
    Setting("worker_redirect_stdouts_level", "str", "WARNING", "At this level.", old=("CELERY_REDIRECT_STDOUTS_LEVEL",)),
)

RECOGNISED: tuple[Setting, ...] = (
    Setting("task_annotations", "any", None, "Task attributes by task name ('*': all), overriding those in the code."),
    Setting("worker_disable_prefetch", "bool", False, "Fetch only when a child is free (Redis).", old=("CELERYD_DISABLE_PREFETCH",)),
    Setting("worker_send_task_events", "bool", False, "Send task events (-E).", old=("CELERY_SEND_EVENTS",)),
    Setting("worker_enable_remote_control", "bool", True, "Remote control on or off.", old=("CELERY_ENABLE_REMOTE_CONTROL",)),
    Setting("beat_enable_remote_control", "bool", False, "Beat answers ping/inspect (new in 5.7).", old=("CELERYBEAT_ENABLE_REMOTE_CONTROL",)),
    Setting("beat_remote_control_max_tick_age", "float", None, "Beat stops answering ping when its last tick is older than this.", old=("CELERYBEAT_REMOTE_CONTROL_MAX_TICK_AGE",)),
    Setting("beat_max_loop_interval", "float", 0, "Longest sleep of beat between checks; 0: the scheduler's own (300 s).", old=("CELERYBEAT_MAX_LOOP_INTERVAL",)),
    Setting("beat_schedule", "dict", {}, "The periodic tasks.", old=("CELERYBEAT_SCHEDULE",)),
    Setting("beat_scheduler", "str", "celery.beat:PersistentScheduler", "Scheduler class (django-celery-beat and redbeat replace it).", old=("CELERYBEAT_SCHEDULER",)),
    Setting("beat_schedule_filename", "str", "celerybeat-schedule", "File of the persistent scheduler (shelve).", old=("CELERYBEAT_SCHEDULE_FILENAME",)),
    Setting("beat_sync_every", "int", 0, "Tasks sent between two syncs of the schedule file.", old=("CELERYBEAT_SYNC_EVERY",)),
    Setting("beat_cron_starting_deadline", "int", None, "How far back a missed cron run is still made up for at start.", old=("CELERYBEAT_CRON_STARTING_DEADLINE",)),
    Setting("broker_read_url", "str", None, "Broker for consuming, when it differs."),
    Setting("broker_write_url", "str", None, "Broker for publishing, when it differs."),
    Setting("broker_transport", "str", None, "Transport name when not in the URL."),
    Setting("broker_connection_retry", "bool", True, "Reconnect after a connection loss."),
    Setting("broker_channel_error_retry", "bool", False, "Reconnect also on channel errors."),
    Setting("broker_failover_strategy", "str", None, "Order in which several broker URLs are tried."),
    Setting("broker_heartbeat", "int", 120, "AMQP heartbeat seconds."),
    Setting("broker_heartbeat_checkrate", "float", 3.0, "How many checks per heartbeat period."),
    Setting("broker_login_method", "str", None, "AMQP SASL method."),
    Setting("broker_native_delayed_delivery_queue_type", "str", "quorum", "Queue type of the delay queues that quorum mode declares."),
    Setting("broker_pool_acquire_timeout", "float", None, "Seconds to wait for a pooled connection (new in 5.7)."),
    Setting("broker_host", "str", None, "Old-style part of the URL."),
    Setting("broker_port", "int", None, "Old-style part of the URL."),
    Setting("broker_user", "str", None, "Old-style part of the URL."),
    Setting("broker_password", "str", None, "Old-style part of the URL.", secret=True),
    Setting("broker_vhost", "str", None, "Old-style part of the URL (the db number under Redis)."),
    Setting("cache_backend", "str", None, "Which cache the cache result backend uses (also read by django-celery-results)."),
    Setting("cache_backend_options", "dict", {}, "Options of it."),
    Setting("cassandra_entry_ttl", "float", None, "Cassandra result backend: row TTL."),
    Setting("cassandra_keyspace", "str", None, "Cassandra result backend: keyspace."),
    Setting("cassandra_port", "str", None, "Cassandra result backend: port."),
    Setting("cassandra_read_consistency", "str", None, "Cassandra result backend: read consistency."),
    Setting("cassandra_servers", "list", None, "Cassandra result backend: hosts."),
    Setting("cassandra_bundle_path", "str", None, "Cassandra result backend: secure-connect bundle."),
    Setting("cassandra_table", "str", None, "Cassandra result backend: table."),
    Setting("cassandra_write_consistency", "str", None, "Cassandra result backend: write consistency."),
    Setting("cassandra_auth_provider", "str", None, "Cassandra result backend: auth class."),
    Setting("cassandra_auth_kwargs", "str", None, "Cassandra result backend: auth arguments."),
    Setting("cassandra_options", "dict", {}, "Cassandra result backend: driver options."),
    Setting("s3_access_key_id", "str", None, "S3 result backend: key id."),
    Setting("s3_secret_access_key", "str", None, "S3 result backend: secret.", secret=True),
    Setting("s3_bucket", "str", None, "S3 result backend: bucket."),
    Setting("s3_base_path", "str", None, "S3 result backend: key prefix."),
    Setting("s3_endpoint_url", "str", None, "S3 result backend: endpoint."),
    Setting("s3_region", "str", None, "S3 result backend: region."),
    Setting("azureblockblob_container_name", "str", "celery", "Azure blob result backend: container."),
    Setting("azureblockblob_retry_initial_backoff_sec", "int", 2, "Azure blob result backend: first retry pause."),
    Setting("azureblockblob_retry_increment_base", "int", 2, "Azure blob result backend: growth of the pause."),
    Setting("azureblockblob_retry_max_attempts", "int", 3, "Azure blob result backend: attempts."),
    Setting("azureblockblob_base_path", "str", "", "Azure blob result backend: name prefix."),
    Setting("azureblockblob_connection_timeout", "int", 20, "Azure blob result backend: connect timeout."),
    Setting("azureblockblob_read_timeout", "int", 120, "Azure blob result backend: read timeout."),
    Setting("gcs_bucket", "str", None, "Google storage result backend: bucket."),
    Setting("gcs_project", "str", None, "Google storage result backend: project."),
    Setting("gcs_base_path", "str", "", "Google storage result backend: name prefix."),
    Setting("gcs_ttl", "float", 0, "Google storage result backend: life of objects."),
    Setting("control_queue_ttl", "float", 300.0, "Message TTL of the remote-control queues."),
    Setting("control_queue_expires", "float", 10.0, "Life of unused remote-control queues (x-expires; 10 s)."),
    Setting("control_queue_exclusive", "bool", True, "Remote-control queues are exclusive."),
    Setting("control_queue_durable", "bool", False, "Remote-control queues survive a broker restart."),
    Setting("control_exchange", "str", "celery", "Name stem of the pidbox exchange (`<name>.pidbox`)."),
    Setting("couchbase_backend_settings", "dict", None, "Couchbase result backend."),
    Setting("arangodb_backend_settings", "dict", None, "ArangoDB result backend."),
    Setting("mongodb_backend_settings", "dict", None, "MongoDB result backend."),
    Setting("cosmosdbsql_database_name", "str", "celerydb", "CosmosDB result backend: database."),
    Setting("cosmosdbsql_collection_name", "str", "celerycol", "CosmosDB result backend: collection."),
    Setting("cosmosdbsql_consistency_level", "str", "Session", "CosmosDB result backend: consistency."),
    Setting("cosmosdbsql_max_retry_attempts", "int", 9, "CosmosDB result backend: attempts."),
    Setting("cosmosdbsql_max_retry_wait_time", "int", 30, "CosmosDB result backend: longest wait."),
    Setting("event_queue_expires", "float", 60.0, "Life of an unused event queue (under Redis a pub/sub subscription: nothing to expire)."),
    Setting("event_queue_ttl", "float", 5.0, "TTL of messages in event queues."),
    Setting("event_queue_prefix", "str", "celeryev", "Name prefix of event receiver queues."),
    Setting("event_queue_exclusive", "bool", True, "Event queues are exclusive."),
    Setting("event_queue_durable", "bool", False, "Event queues survive a broker restart."),
    Setting("event_serializer", "str", "json", "Serializer of events."),
    Setting("event_exchange", "str", "celeryev", "Event exchange name."),
    Setting("redis_db", "int", None, "Redis result backend: db (mostly in the URL)."),
    Setting("redis_host", "str", None, "Redis result backend: host (mostly in the URL)."),
    Setting("redis_max_connections", "int", None, "Redis result backend: pool size."),
    Setting("redis_username", "str", None, "Redis result backend: ACL user."),
    Setting("redis_password", "str", None, "Redis result backend: password.", secret=True),
    Setting("redis_port", "int", None, "Redis result backend: port."),
    Setting("redis_retry_on_timeout", "bool", False, "Redis result backend: retry a command that timed out."),
    Setting("result_cache_max", "int", -1, "Results remembered by the client (-1: none).", old=("CELERY_MAX_CACHED_RESULTS",)),
    Setting("result_exchange", "str", "celeryresults", "Rpc backend: exchange (unused by rpc://)."),
    Setting("result_exchange_type", "str", "direct", "Rpc backend: exchange type."),
    Setting("result_chord_expires", "float", None, "Life of the chord join keys when it differs (new in 5.7)."),
    Setting("result_persistent", "bool", None, "Rpc backend: persistent reply messages."),
    Setting("result_chord_retry_interval", "float", 1.0, "Pause of chord_unlock polling (backends without a native join)."),
    Setting("result_chord_join_timeout", "float", 3.0, "Seconds to collect header results in the join."),
    Setting("result_backend_max_sleep_between_retries_ms", "int", 10000, "Longest pause between backend retries."),
    Setting("result_backend_max_retries", "float", math.inf, "Backend retries."),
    Setting("result_backend_base_sleep_between_retries_ms", "int", 10, "First pause between backend retries."),
    Setting("result_backend_always_retry", "bool", False, "Retry backend operations on recoverable errors."),
    Setting("elasticsearch_retry_on_timeout", "bool", None, "Elasticsearch result backend: retry."),
    Setting("elasticsearch_max_retries", "int", None, "Elasticsearch result backend: attempts."),
    Setting("elasticsearch_timeout", "float", None, "Elasticsearch result backend: timeout."),
    Setting("elasticsearch_save_meta_as_text", "bool", True, "Elasticsearch result backend: meta as text."),
    Setting("security_certificate", "str", None, "Signed messages ('auth' serializer): certificate."),
    Setting("security_cert_store", "str", None, "Signed messages: folder of trusted certificates."),
    Setting("security_key", "str", None, "Signed messages: private key.", secret=True),
    Setting("security_key_password", "str", None, "Signed messages: its password.", secret=True),
    Setting("security_digest", "str", "sha256", "Signed messages: digest."),
    Setting("database_url", "str", None, "SQL result backend: URL.", old=("CELERY_RESULT_DBURI",)),
    Setting("database_engine_options", "dict", {"pool_pre_ping": True, "pool_recycle": 3600}, "SQL result backend: SQLAlchemy engine options.", old=("CELERY_RESULT_ENGINE_OPTIONS",)),
    Setting("database_engine_callback", "any", None, "SQL result backend: hook called with the engine (new in 5.7)."),
    Setting("database_short_lived_sessions", "bool", False, "SQL result backend: new session per use.", old=("CELERY_RESULT_DB_SHORT_LIVED_SESSIONS",)),
    Setting("database_table_schemas", "dict", None, "SQL result backend: schemas."),
    Setting("database_table_names", "dict", None, "SQL result backend: table names.", old=("CELERY_RESULT_DB_TABLENAMES",)),
    Setting("database_create_tables_at_setup", "bool", True, "SQL result backend: create tables early."),
    Setting("task_acks_on_failure_or_timeout", "bool", True, "With late acks: ack also when it failed or timed out.", old=("CELERY_ACKS_ON_FAILURE_OR_TIMEOUT",)),
    Setting("task_acks_on_failure", "bool", None, "The same for failure alone (5.7 splits it).", old=("CELERY_ACKS_ON_FAILURE",)),
    Setting("task_acks_on_timeout", "bool", None, "The same for timeout alone.", old=("CELERY_ACKS_ON_TIMEOUT",)),
    Setting("task_create_missing_queue_type", "str", "classic", "Their queue type (classic/quorum).", old=("CELERY_CREATE_MISSING_QUEUE_TYPE",)),
    Setting("task_create_missing_queue_exchange_type", "str", None, "Their exchange type.", old=("CELERY_CREATE_MISSING_QUEUE_EXCHANGE_TYPE",)),
    Setting("task_default_delivery_mode", "any", 2, "Persistent or transient messages (only recorded in the message under Redis).", old=("CELERY_DEFAULT_DELIVERY_MODE",)),
    Setting("task_default_queue_type", "str", "classic", "Classic or quorum.", old=("CELERY_DEFAULT_QUEUE_TYPE",)),
    Setting("task_default_rate_limit", "str", None, "Rate limit of tasks that set none.", old=("CELERY_DEFAULT_RATE_LIMIT",)),
    Setting("task_queue_max_priority", "int", None, "X-max-priority of all queues (RabbitMQ; Redis has priority_steps).", old=("CELERY_QUEUE_MAX_PRIORITY",)),
    Setting("task_retry_on_worker_lost", "bool", False, "Retry instead (new in 5.7).", old=("CELERY_RETRY_ON_WORKER_LOST",)),
    Setting("task_remote_tracebacks", "bool", False, "Keep tracebacks with tblib when pickled.", old=("CELERY_REMOTE_TRACEBACKS",)),
    Setting("task_repr_maxlevels", "int", 3, "Nesting depth shown in argsrepr (new in 5.7).", old=("CELERY_REPR_MAXLEVELS",)),
    Setting("task_send_sent_event", "bool", False, "Clients emit task-sent.", old=("CELERY_SEND_TASK_SENT_EVENT",)),
    Setting("task_allow_error_cb_on_chord_header", "bool", False, "Errbacks of a chord body also go to its header tasks.", old=("CELERY_ALLOW_ERROR_CB_ON_CHORD_HEADER",)),
    Setting("worker_agent", "str", None, "Extra actor class.", old=("CELERYD_AGENT",)),
    Setting("worker_autoscaler", "str", "celery.worker.autoscale:Autoscaler", "Autoscaler class.", old=("CELERYD_AUTOSCALER",)),
    Setting("worker_cancel_long_running_tasks_on_connection_loss", "bool", False, "With late acks: kill running tasks when the broker is lost.", old=("CELERYD_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS",)),
    Setting("worker_soft_shutdown_timeout", "float", 0.0, "Seconds between warm and cold shutdown in which tasks may end.", old=("CELERYD_SOFT_SHUTDOWN_TIMEOUT",)),
    Setting("worker_enable_soft_shutdown_on_idle", "bool", False, "Also wait when nothing runs (so that eta tasks are given back).", old=("CELERYD_ENABLE_SOFT_SHUTDOWN_ON_IDLE",)),
    Setting("worker_consumer", "str", "celery.worker.consumer:Consumer", "Consumer class.", old=("CELERYD_CONSUMER",)),
    Setting("worker_direct", "bool", False, "A queue of its own per worker (queue `<nodename>.dq2`, exchange `C.dq2`)."),
    Setting("worker_disable_rate_limits", "bool", False, "Ignore all rate limits.", old=("CELERY_DISABLE_RATE_LIMITS",)),
    Setting("worker_deduplicate_successful_tasks", "bool", False, "Late-acked task redelivered after success is not run again.", old=("CELERYD_DEDUPLICATE_SUCCESSFUL_TASKS",)),
    Setting("worker_lost_wait", "float", 10.0, "Seconds to wait for a lost child's result.", old=("CELERYD_WORKER_LOST_WAIT",)),
    Setting("worker_pool_putlocks", "bool", True, "Prefork: one task in flight per child.", old=("CELERYD_POOL_PUTLOCKS",)),
    Setting("worker_pool_restarts", "bool", False, "Allow the pool_restart command.", old=("CELERYD_POOL_RESTARTS",)),
    Setting("worker_pool_start_method", "str", "fork", "Prefork start method (new in 5.7).", old=("CELERYD_POOL_START_METHOD",)),
    Setting("worker_proc_alive_timeout", "float", 4.0, "Seconds for a new child to come up.", old=("CELERYD_PROC_ALIVE_TIMEOUT",)),
    Setting("worker_prefetch_multiplier", "int", 4, "Messages fetched ahead = this times concurrency (0: no limit).", old=("CELERYD_PREFETCH_MULTIPLIER",)),
    Setting("worker_eta_task_limit", "int", None, "Most eta/countdown tasks held by a worker.", old=("CELERYD_ETA_TASK_LIMIT",)),
    Setting("worker_enable_prefetch_count_reduction", "bool", True, "Take fewer messages after a reconnect until old ones are done.", old=("CELERYD_ENABLE_PREFETCH_COUNT_REDUCTION",)),
    Setting("worker_state_db", "str", None, "File keeping revoked ids over restarts.", old=("CELERYD_STATE_DB",)),
    Setting("worker_task_log_datefmt", "str", None, "Date format of task log lines (new in 5.7).", old=("CELERYD_TASK_LOG_DATEFMT",)),
    Setting("worker_timer", "str", None, "Timer class.", old=("CELERYD_TIMER",)),
    Setting("worker_timer_precision", "float", 1.0, "Longest timer sleep.", old=("CELERYD_TIMER_PRECISION",)),
    Setting("worker_detect_quorum_queues", "bool", True, "Find quorum queues and switch global prefetch off.", old=("CELERYD_DETECT_QUORUM_QUEUES",)),
    Setting("worker_logfile", "any", None, "Default of the worker's --logfile."),
    Setting("worker_pidfile", "any", None, "Default of the worker's --pidfile."),
    Setting("worker_uid", "any", None, "Default of the worker's --uid."),
    Setting("worker_gid", "any", None, "Default of the worker's --gid."),
    Setting("worker_umask", "any", None, "Default of the worker's --umask."),
    Setting("worker_executable", "any", None, "Default of the worker's --executable."),
    Setting("beat_logfile", "any", None, "Default of beat's --logfile."),
    Setting("beat_pidfile", "any", None, "Default of beat's --pidfile."),
    Setting("beat_uid", "any", None, "Default of beat's --uid."),
    Setting("beat_gid", "any", None, "Default of beat's --gid."),
    Setting("beat_umask", "any", None, "Default of beat's --umask."),
    Setting("beat_executable", "any", None, "Default of beat's --executable."),
    Setting("events_logfile", "any", None, "Default of `celery events` --logfile."),
    Setting("events_pidfile", "any", None, "Default of `celery events` --pidfile."),
    Setting("events_uid", "any", None, "Default of `celery events` --uid."),
    Setting("events_gid", "any", None, "Default of `celery events` --gid."),
    Setting("events_umask", "any", None, "Default of `celery events` --umask."),
    Setting("events_executable", "any", None, "Default of `celery events` --executable."),
    Setting("redis_backend_health_check_interval", "any", None, "Redis result backend: PING interval on idle connections."),
    Setting("redis_backend_credential_provider", "any", None, "Redis result backend: credential provider class."),
    Setting("redis_client_name", "any", None, "Redis result backend: CLIENT SETNAME."),
    Setting("result_backend_thread_safe", "any", None, "Share one backend object between threads."),
    Setting("override_backends", "any", None, "Map a backend URL scheme to another class."),
)
# fmt: on

SETTINGS: dict[str, Setting] = {setting.name: setting for setting in (*ACTING, *RECOGNISED)}
"""All of them by name."""


def _old_names() -> dict[str, str]:
    """Before version 4 Celery wrote settings in capitals, most of them after CELERY_, the worker's after CELERYD_."""
    names: dict[str, str] = {}
    for prefix, old in (("task_", "CELERY_"), ("worker_", "CELERYD_"), ("beat_", "CELERYBEAT_")):
        names |= {old + n.removeprefix(prefix).upper(): n for n in SETTINGS if n.startswith(prefix)}
    names |= {form: name for name in SETTINGS for form in (f"CELERY_{name.upper()}", name.upper())}
    return names | {old: setting.name for setting in SETTINGS.values() for old in setting.old}


OLD_NAMES: dict[str, str] = _old_names()
"""From old names, in capitals, to today's."""
