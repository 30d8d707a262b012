META = {
    "venv": "arq",
    "broker": "redis",
    "dists": ["arq", "redis"],
    "default_profile": "w2_tuned",
    "profiles": {
        "w1": {"argv": ["{bin}/arq", "adapters.arq.WorkerSettings"], "opts": {"max_jobs": 10}},
        "w1_tuned": {
            "argv": ["{bin}/arq", "adapters.arq.WorkerSettings"],
            "opts": {"max_jobs": 100, "poll": 0.01},
        },
        "w2": {
            "argv": [
                ["{bin}/arq", "adapters.arq.WorkerSettings"],
                ["{bin}/arq", "adapters.arq.WorkerSettings"],
            ],
            "opts": {"max_jobs": 10},
        },
        "w2_tuned": {
            "argv": [
                ["{bin}/arq", "adapters.arq.WorkerSettings"],
                ["{bin}/arq", "adapters.arq.WorkerSettings"],
            ],
            "opts": {"max_jobs": 100, "poll": 0.01},
        },
    },
    # arq's own default job_timeout is 300 s: a dead worker's job comes back after 310 s
}
from datetime import timedelta  # noqa: E402

from arq import create_pool  # noqa: E402
from arq.connections import RedisSettings  # noqa: E402
from arq.worker import func  # noqa: E402
import logging  # noqa: E402
import benchlib as b  # noqa: E402

RS = RedisSettings(host="127.0.0.1", port=b.REDIS_PORT)


async def noop(ctx, i, j, label=""):
    b.body_noop(i)


async def noop_r(ctx, i, j, label=""):
    return b.body_noop_r(i)


async def io(ctx, i, j, label=""):
    await b.abody_io(i)


async def ms(ctx, i, j, label=""):
    await b.abody_ms(i)


async def _startup(ctx):
    logging.getLogger("arq").setLevel(logging.WARNING)  # the CLI logs two INFO lines per job otherwise


class WorkerSettings:
    functions = [func(noop, keep_result=0), noop_r, func(io, keep_result=0), func(ms, keep_result=0)]
    redis_settings = RS
    max_jobs = b.OPTS.get("max_jobs", 10)
    poll_delay = b.OPTS.get("poll", 0.5)
    log_results = False
    on_startup = _startup


pool = None


async def setup():
    global pool
    pool = await create_pool(RS)


async def enqueue(i, kind="noop"):
    return await pool.enqueue_job(kind, i, 7, label="abc")


async def enqueue_in(i, delay, kind="noop"):
    return await pool.enqueue_job(kind, i, 7, label="abc", _defer_by=timedelta(seconds=delay))


async def result(h, timeout):
    # arq polls; its default interval is 500 ms, here 2 ms
    return await h.result(timeout, poll_delay=0.002)
