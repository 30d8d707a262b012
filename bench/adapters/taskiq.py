META = {
    "venv": "taskiq",
    "broker": "redis",
    "dists": ["taskiq", "taskiq-redis", "redis", "uvloop"],
    "default_profile": "stream_w2",
    "profiles": {
        "stream_w2": {
            "argv": ["{bin}/taskiq", "worker", "--log-level", "WARNING", "-w", "2", "adapters.taskiq:broker"]
        },
        "stream_w1": {
            "argv": ["{bin}/taskiq", "worker", "--log-level", "WARNING", "-w", "1", "adapters.taskiq:broker"]
        },
        "list_w2": {
            "argv": ["{bin}/taskiq", "worker", "--log-level", "WARNING", "-w", "2", "adapters.taskiq:broker"],
            "opts": {"list": 1},
        },
        "list_w1": {
            "argv": ["{bin}/taskiq", "worker", "--log-level", "WARNING", "-w", "1", "adapters.taskiq:broker"],
            "opts": {"list": 1},
        },
        "stream_w2_idle10": {
            "argv": ["{bin}/taskiq", "worker", "--log-level", "WARNING", "-w", "2", "adapters.taskiq:broker"],
            "opts": {"idle_ms": 10000},
        },
        "stream_w2_sched": {
            "argv": [
                ["{bin}/taskiq", "worker", "--log-level", "WARNING", "-w", "2", "adapters.taskiq:broker"],
                ["{bin}/taskiq", "scheduler", "--log-level", "WARNING", "adapters.taskiq:scheduler"],
            ]
        },
    },
    "scenario_profile": {"eta": "stream_w2_sched"},
    "chain": True,
}
import datetime as dt  # noqa: E402

from taskiq import TaskiqScheduler  # noqa: E402
from taskiq_pipelines import Pipeline, PipelineMiddleware  # noqa: E402
from taskiq_redis import ListQueueBroker, ListRedisScheduleSource, RedisAsyncResultBackend, RedisStreamBroker  # noqa: E402
import benchlib as b  # noqa: E402

if b.OPTS.get("list"):
    broker = ListQueueBroker(url=b.REDIS_URL)
elif b.OPTS.get("idle_ms"):
    broker = RedisStreamBroker(
        url=b.REDIS_URL, idle_timeout=b.OPTS["idle_ms"], unacknowledged_lock_timeout=10, consumer_id="0"
    )
else:
    # consumer_id="0": with the default "$" a new group would not see messages sent before it was created
    broker = RedisStreamBroker(url=b.REDIS_URL, consumer_id="0")
if b.SCENARIO in ("drain_results", "roundtrip", "canvas"):
    broker = broker.with_result_backend(
        RedisAsyncResultBackend(f"redis://127.0.0.1:{b.REDIS_PORT}/1", result_ex_time=3600)
    )
if b.SCENARIO == "canvas":
    broker.add_middlewares(PipelineMiddleware())
source = ListRedisScheduleSource(b.REDIS_URL)
scheduler = TaskiqScheduler(broker, [source])


@broker.task
async def noop(i: int, j: int, label: str = "") -> None:
    b.body_noop(i)


@broker.task
async def noop_r(i: int, j: int, label: str = "") -> int:
    return b.body_noop_r(i)


@broker.task
async def io(i: int, j: int, label: str = "") -> None:
    await b.abody_io(i)


@broker.task
async def ms(i: int, j: int, label: str = "") -> None:
    await b.abody_ms(i)


@broker.task
async def step(x: int) -> int:
    return x + 1


T = {"noop": noop, "noop_r": noop_r, "io": io, "ms": ms}


async def setup():
    await broker.startup()
    await source.startup()


async def teardown():
    await broker.shutdown()


async def enqueue(i, kind="noop"):
    return await T[kind].kiq(i, 7, label="abc")


async def enqueue_in(i, delay, kind="noop"):
    when = dt.datetime.now(dt.timezone.utc) + dt.timedelta(seconds=delay)
    return await T[kind].schedule_by_time(source, when, i, 7, label="abc")


async def result(h, timeout):
    # taskiq polls; its default interval is 200 ms, here 2 ms
    return (await h.wait_result(check_interval=0.002, timeout=timeout)).return_value


async def chain(n):
    p = Pipeline(broker, step)
    for _ in range(n - 1):
        p = p.call_next(step)
    t = await p.kiq(0)
    assert (await t.wait_result(check_interval=0.002, timeout=60)).return_value == n
