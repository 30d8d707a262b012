META = {
    "venv": "procrastinate",
    "broker": "postgres",
    "dists": ["procrastinate", "psycopg"],
    "default_profile": "w2c10",
    "init": ["{bin}/procrastinate", "--app", "adapters.procrastinate.app", "schema", "--apply"],
    "profiles": {
        "w1c1": {
            "argv": [
                "{bin}/procrastinate",
                "--log-level",
                "warning",
                "--app",
                "adapters.procrastinate.app",
                "worker",
            ]
        },
        "w2c10": {
            "argv": [
                [
                    "{bin}/procrastinate",
                    "--log-level",
                    "warning",
                    "--app",
                    "adapters.procrastinate.app",
                    "worker",
                    "-c",
                    "10",
                ],
                [
                    "{bin}/procrastinate",
                    "--log-level",
                    "warning",
                    "--app",
                    "adapters.procrastinate.app",
                    "worker",
                    "-c",
                    "10",
                ],
            ]
        },
        "w2c100": {
            "argv": [
                [
                    "{bin}/procrastinate",
                    "--log-level",
                    "warning",
                    "--app",
                    "adapters.procrastinate.app",
                    "worker",
                    "-c",
                    "100",
                ],
                [
                    "{bin}/procrastinate",
                    "--log-level",
                    "warning",
                    "--app",
                    "adapters.procrastinate.app",
                    "worker",
                    "-c",
                    "100",
                ],
            ]
        },
    },
    "scenario_profile": {"drain_io": "w2c100"},
    "n": {"eta": 20000},
}
import procrastinate  # noqa: E402
import benchlib as b  # noqa: E402

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=b.PG_DSN or "postgresql:///x"))


@app.task
async def noop(i, j, label=""):
    b.body_noop(i)


@app.task
async def noop_r(i, j, label=""):
    return b.body_noop_r(i)


@app.task
async def io(i, j, label=""):
    await b.abody_io(i)


@app.task
async def ms(i, j, label=""):
    await b.abody_ms(i)


T = {"noop": noop, "noop_r": noop_r, "io": io, "ms": ms}


async def setup():
    await app.open_async()


async def teardown():
    await app.close_async()


async def enqueue(i, kind="noop"):
    return await T[kind].defer_async(i=i, j=7, label="abc")


async def enqueue_bulk(ids, kind="noop"):
    await T[kind].batch_defer_async(*[{"i": i, "j": 7, "label": "abc"} for i in ids])


async def enqueue_in(i, delay, kind="noop"):
    return await T[kind].configure(schedule_in={"seconds": delay}).defer_async(i=i, j=7, label="abc")
