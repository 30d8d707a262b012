#!/usr/bin/env python3
"""The whole table of docs/performance.md in one command: python bench/all.py --raw FILE [--parts ...] [--minutes 35]

Runs every part below with interleaved repetitions (every system once, then every system again in the opposite order),
one line of JSON for each run in FILE. Started again with the same FILE it goes on where it stopped; what failed is tried
again. After --minutes no further run is begun, and the report says what is missing. At last it writes the report
(bench/report.py) unless --no-report is given. Standard library only, but for the plots; see README.md.
"""

import argparse
import concurrent.futures
import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import run  # noqa: E402

PEERS = ["celery", "huey", "taskiq", "dramatiq", "saq", "arq", "streaq", "rq:pool2_simple"]
"""rq without its process per job, which is an order of magnitude slower."""
RUN_SECONDS = 400
"""A single run that takes longer is ended and counts as failed."""
IDLE_AT_ONCE = 5
"""So many idle workers are watched at a time, each with a Redis of its own."""

# How many tasks: enough for about a second of steady work (for slow systems, two).
N = {
    "drain": {"celery": 3000, "huey": 8000, "taskiq": 4000, "dramatiq": 1500, "saq": 4000, "arq": 2000}
    | {"streaq": 4000, "rq": 600, "umbel": 40000},
    "drain_results": {"celery": 2500, "huey": 8000, "taskiq": 4000, "dramatiq": 1500, "saq": 4000}
    | {"arq": 2000, "streaq": 4000, "rq": 500, "umbel": 30000},
    "drain_io": dict.fromkeys(PEERS, 2000) | {"rq": 600, "umbel": 8000},
    "roundtrip": dict.fromkeys(PEERS, 500) | {"rq": 60, "umbel": 1000},
    "pickup": dict.fromkeys(PEERS, 100) | {"rq": 60, "umbel": 150},
    "enqueue_bulk": {"umbel": 50000, "rq": 5000, "streaq": 10000},
}


def plan(repeat):
    """[(part, scenario, systems, repetitions, how many at a time)]."""
    steps = []

    def step(part, scenario, systems, times=repeat, at_once=1):
        steps.append((part, scenario, systems, min(times, repeat), at_once))

    both = [*PEERS, "umbel"]
    step("speed", "drain", both)
    step("speed", "drain_results", both)
    step("speed", "drain_io", [*PEERS[:-1], "rq:pool16_simple", "umbel:threads100", "umbel:asyncio100"])
    step("speed", "enqueue_bulk", ["rq:pool2_simple", "streaq", "umbel"])
    step("speed", "roundtrip", both)
    step("speed", "pickup", both)
    step("speed", "startup", both)
    step("speed", "idle", both, at_once=IDLE_AT_ONCE)
    step("speed", "profile", ["umbel"], 1)
    step("sqlite", "drain", ["umbel:sqlite_prefork2"])
    step("sqlite", "pickup", ["umbel:sqlite_prefork2"])
    for scenario in ("fairness_steady", "fairness_backlog"):
        step("fairness", scenario, ["umbel"])
        step("fairness", scenario, ["celery", "huey"], 1)
    step("scale", "scale", [f"umbel:prefork{k}" for k in (1, 2, 4, 8)])
    step("scale", "scale", [f"umbel:nodes{k}" for k in (1, 2, 4, 7, 10)])
    for length in (1000, 10_000, 100_000):
        step("scale", f"queue={length}", ["umbel"])
    step("scale", "queue=1000000", ["umbel"], 1)
    for size in (100, 1000, 10_000, 100_000, 1_000_000):
        step("scale", f"payload={size}", ["umbel"])
        step("scale", f"payload={size}", ["celery", "huey"], 1)
    step("memory", "memory_waiting", ["umbel"], 1)
    step("memory", "memory_flat", ["umbel"], 1)
    return steps


PARTS = ["speed", "sqlite", "fairness", "scale", "memory"]
QUICK = {
    "memory_waiting": 20_000,
    "profile": 20_000,
    "memory_flat": 100_000,
    "fairness_steady": 300,
    "fairness_backlog": 300,
}


def count(scenario, system, quick):
    """The number of tasks of a run; 0: the scenario's own."""
    base = scenario.partition("=")[0]
    name = system.partition(":")[0]
    if system.startswith("umbel:sqlite"):
        n = {"drain": 10000, "pickup": 150}.get(base, 0)
    else:
        n = N.get(base, {}).get(name, 0)
    if not quick:
        return n
    return (
        QUICK.get(base)
        or {"idle": 2, "scale": 1000, "queue": 2000, "payload": 50}.get(base)
        or max(20, n // 20)
    )


def arguments():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--raw", default=os.path.join(tempfile.gettempdir(), "bench.jsonl"))
    ap.add_argument("--parts", default=",".join(PARTS), help="of " + ", ".join(PARTS))
    ap.add_argument("--systems", default="", help="only these (default: all whose environment exists)")
    ap.add_argument("--repeat", type=int, default=3)
    ap.add_argument("--minutes", type=float, default=35)
    ap.add_argument("--quick", action="store_true", help="few tasks: to see that everything runs")
    ap.add_argument("--docs", default="", help="write the report into this page instead of printing it")
    ap.add_argument("--no-report", action="store_true")
    a = ap.parse_args()
    a.parts = a.parts.split(",")
    unknown = sorted(set(a.parts) - set(PARTS))
    if unknown:
        ap.error(f"unknown part {unknown[0]}; there are {', '.join(PARTS)}")
    wanted = a.systems.split(",") if a.systems else [p.partition(":")[0] for p in PEERS] + ["umbel"]
    a.systems = [name for name in wanted if os.path.exists(python_of(name))]
    for name in wanted:
        if name not in a.systems:
            print(f"{name}: no environment (bench/setup_venvs.sh {name}); left out", file=sys.stderr)
    return a


def python_of(name):
    return os.path.join(run.VENVS, run.load_meta(name)["venv"], "bin", "python")


def finished(raw):
    """The keys of the runs that need not be done again."""
    if not os.path.exists(raw):
        return set()
    with open(raw) as f:
        return {key_of(row) for row in map(json.loads, f) if "error" not in row}


def key_of(row):
    return row["part"], row["scenario"], row["asked"], row["rep"]


def todo(a):
    """Batches of runs in order; those of one batch go side by side."""
    done = finished(a.raw)
    batches = []
    for rep in range(a.repeat):
        for part, scenario, systems, times, at_once in plan(a.repeat):
            if part not in a.parts or rep >= times:
                continue
            order = [s for s in systems if s.partition(":")[0] in a.systems]
            order = [s for s in (order if rep % 2 == 0 else order[::-1])]
            left = [s for s in order if (part, scenario, s, rep) not in done]
            batches += [
                [(part, scenario, s, rep) for s in left[k : k + at_once]]
                for k in range(0, len(left), at_once)
            ]
    return batches


def one(key, quick):
    part, scenario, system, rep = key
    name, _, profile = system.partition(":")
    argv = [sys.executable, os.path.join(HERE, "run.py"), "--system", name, "--scenario", scenario]
    argv += ["--profile", profile] if profile else []
    n = count(scenario, system, quick)
    argv += ["--n", str(n)] if n else []
    env = dict(os.environ, BENCH_LOCK="none")  # the lock is held for the whole run
    p = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, err = p.communicate(timeout=RUN_SECONDS)
    except subprocess.TimeoutExpired:
        p.send_signal(signal.SIGTERM)  # run.py ends what it has started
        out, err = p.communicate()
        out = ""
        err = f"took longer than {RUN_SECONDS} s"
    try:
        row = json.loads(out.strip().splitlines()[-1])
    except (IndexError, ValueError):
        row = {"system": name, "profile": profile, "error": err[-500:] or f"exit {p.returncode}"}
    row.update(part=part, scenario=scenario, asked=system, rep=rep)
    return row


def main():
    a = arguments()
    lock = os.environ.get("BENCH_LOCK", os.path.join(tempfile.gettempdir(), "bench.lock"))
    held = open(os.devnull if lock == "none" else lock, "a")
    if lock != "none":
        fcntl.flock(held, fcntl.LOCK_EX)
    os.makedirs(os.path.dirname(os.path.abspath(a.raw)), exist_ok=True)
    batches, began = todo(a), time.time()
    total = sum(map(len, batches))
    left = total
    print(f"{total} runs, into {a.raw}; at most {a.minutes:g} min", file=sys.stderr, flush=True)
    with open(a.raw, "a") as raw, concurrent.futures.ThreadPoolExecutor(IDLE_AT_ONCE) as pool:
        for batch in batches:
            if time.time() - began > a.minutes * 60:
                print(f"{left} runs are left after {a.minutes:g} min; start again for them", file=sys.stderr)
                break
            for row in pool.map(lambda key: one(key, a.quick), batch):
                raw.write(json.dumps(row) + "\n")
                raw.flush()
                left -= 1
                figure = "FAILED " + row["error"][-150:] if "error" in row else told(row)
                minutes = (time.time() - began) / 60
                print(
                    f"{minutes:5.1f} min, {left} left: {row['rep'] + 1} {row['scenario']} {row['asked']}: {figure}",
                    file=sys.stderr,
                    flush=True,
                )
    if not a.no_report:
        return subprocess.call(
            [sys.executable, os.path.join(HERE, "report.py"), a.raw, *(["--docs", a.docs] if a.docs else [])]
        )
    return 0


def told(row):
    import compare

    figure, unit, *_ = compare.figures(row["scenario"])
    return f"{row.get(figure)} ({unit})"


if __name__ == "__main__":
    sys.exit(main())
