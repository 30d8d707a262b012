#!/usr/bin/env python3
"""Several systems side by side: python bench/compare.py --systems celery,umbel --scenarios drain,roundtrip --repeat 5

Repetitions are interleaved (every system once, then every system again, in the opposite order), so that what disturbs
the machine for a minute disturbs all of them. Prints one Markdown table per scenario with medians, spread and the ratio
to the baseline. A ratio is taken within each repetition and the median of those is shown, with its range.

A system is NAME or NAME:PROFILE. `--n drain=5000,roundtrip=300` sets the number of tasks for all; otherwise each
adapter's own number counts. Standard library only; the raw lines go to --raw. Environment: as for run.py.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import run  # noqa: E402

# scenario -> (figure, unit, larger is better, further columns: (figure, heading))
FIGURES = {
    "enqueue": ("tasks_per_s", "tasks/s", True, [("broker_cmds_per_task", "broker commands/task")]),
    "enqueue_bulk": ("tasks_per_s", "tasks/s", True, [("broker_cmds_per_task", "broker commands/task")]),
    "drain": (
        "tasks_per_s",
        "tasks/s",
        True,
        [
            ("worker_cpu_s_per_1000", "worker CPU s/1000"),
            ("redis_cpu_s_per_1000", "Redis CPU s/1000"),
            ("broker_cmds_per_task", "broker commands/task"),
            ("enqueue_tasks_per_s", "enqueue, tasks/s"),
        ],
    ),
    "roundtrip": ("p50_ms", "p50 ms", False, [("p95_ms", "p95 ms"), ("p99_ms", "p99 ms")]),
    "pickup": ("p50_ms", "p50 ms", False, [("p95_ms", "p95 ms"), ("max_ms", "max ms")]),
    "startup": (
        "start_to_first_task_s",
        "worker start to first task, s",
        False,
        [("import_ms", "import ms")],
    ),
    "idle": (
        "pss_mb",
        "PSS MiB",
        False,
        [
            ("processes", "processes"),
            ("idle_cpu_s_per_20s", "CPU s/20 s"),
            ("requests_per_s", "commands sent/s"),
            ("broker_cmds_per_s", "with those in scripts"),
        ],
    ),
    "eta": (
        "pss_mb",
        "worker PSS MiB",
        False,
        [("late_s", "due task late, s"), ("enqueue_eta_per_s", "enqueue, tasks/s")],
    ),
    "crash": (
        "never_completed",
        "never completed",
        False,
        [
            ("in_flight_at_kill", "running at kill"),
            ("completed_twice_or_more", "completed twice"),
            ("last_recovered_s_after_kill", "last recovered after s"),
        ],
    ),
    "canvas": (
        "chord_s",
        "chord of 1000, s",
        False,
        [("large_chord_s", "chord of 10,000, s"), ("chain_s", "chain of 200, s")],
    ),
}
FIGURES["profile"] = ("node_kernel_percent", "kernel, % of the node's time", False, [])
FIGURES["fairness_steady"] = (
    "free_p99_ms",
    "p99 ms waited while a slot was free",
    False,
    [
        ("free_p50_ms", "p50"),
        ("free_max_ms", "max"),
        ("delay_p50_ms", "waited in all: p50 ms"),
        ("delay_p99_ms", "p99"),
        ("delay_max_ms", "max"),
    ],
)
FIGURES["fairness_backlog"] = (
    "gap_max_ms",
    "longest gap, ms",
    False,
    [("gap_p99_ms", "p99 ms"), ("gap_p50_ms", "p50 ms"), ("idle_percent", "idle, % of the time")],
)
FIGURES["scale"] = ("tasks_per_s", "tasks/s", True, [("children", "children"), ("pss_mb_after", "PSS MiB")])
FIGURES["queue"] = (
    "tasks_per_s",
    "tasks/s",
    True,
    [("worker_cpu_s_per_1000", "worker CPU s/1000"), ("redis_cpu_s_per_1000", "Redis CPU s/1000")],
)
FIGURES["payload"] = (
    "tasks_per_s",
    "tasks/s",
    True,
    [("mb_per_s", "MB/s"), ("enqueue_tasks_per_s", "enqueue, tasks/s"), ("pss_mb_after", "PSS MiB")],
)
FIGURES["memory_waiting"] = (
    "node_growth_mb",
    "growth of the node, MB",
    False,
    [("node_rss_mb_before", "RSS before, MB"), ("node_rss_mb_top", "highest, MB")],
)
FIGURES["memory_flat"] = (
    "node_slope_bytes_per_1000",
    "node, bytes per 1,000 tasks",
    False,
    [("child_slope_bytes_per_1000", "child"), ("node_rss_mb_end", "node at the end, MB")],
)
FIGURES["drain_results"] = FIGURES["drain_io"] = FIGURES["drain"]
FIGURES["crash_slow"] = FIGURES["crash"]


def figures(scenario):
    """What a report shows of a scenario, which may have a parameter ("queue=1000")."""
    return FIGURES[scenario.partition("=")[0]]


def arguments():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--systems", default="celery,umbel", help="NAME or NAME:PROFILE, comma separated")
    ap.add_argument("--scenarios", default="drain,drain_results,roundtrip,enqueue")
    ap.add_argument("--repeat", type=int, default=3)
    ap.add_argument(
        "--baseline",
        default="",
        help="what ratios refer to (default: celery where it takes part, else the first)",
    )
    ap.add_argument("--n", default="", help="SCENARIO=N, comma separated")
    ap.add_argument("--raw", default="", help="append every run's JSON line to this file")
    a = ap.parse_args()
    a.systems, a.scenarios = a.systems.split(","), a.scenarios.split(",")
    a.n = dict(x.split("=") for x in a.n.split(",") if x)
    unknown = [s for s in a.scenarios if s.partition("=")[0] not in FIGURES]
    if unknown:
        ap.error(f"unknown scenario {unknown[0]}; there are {', '.join(sorted(FIGURES))}")
    a.baseline = a.baseline or next((s for s in a.systems if s.partition(":")[0] == "celery"), a.systems[0])
    if a.baseline not in a.systems:
        ap.error(f"the baseline {a.baseline} is not among the systems")
    return a


def one(system, scenario, n):
    name, _, profile = system.partition(":")
    argv = [sys.executable, os.path.join(HERE, "run.py"), "--system", name, "--scenario", scenario]
    argv += ["--profile", profile] if profile else []
    argv += ["--n", n] if n else []
    p = subprocess.run(argv, capture_output=True, text=True)
    try:
        return json.loads(p.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        return {"system": name, "scenario": scenario, "error": p.stderr[-500:] or f"exit {p.returncode}"}


def measure(a):
    rows = {}
    raw = open(a.raw, "a") if a.raw else None
    for rep in range(a.repeat):
        for scenario in a.scenarios:
            for system in a.systems if rep % 2 == 0 else reversed(a.systems):
                t0 = time.time()
                row = dict(one(system, scenario, a.n.get(scenario)), rep=rep, asked=system)
                rows.setdefault((scenario, system), {})[rep] = row
                if raw:
                    raw.write(json.dumps(row) + "\n")
                    raw.flush()
                figure = row.get("error", "")[-200:] or row.get(figures(scenario)[0])
                print(
                    f"{rep + 1}/{a.repeat} {scenario} {system}: {figure} ({time.time() - t0:.0f} s)",
                    file=sys.stderr,
                    flush=True,
                )
    return rows


def shown(x):
    if x is None:
        return "-"
    x = float(x)
    return f"{x:,.0f}" if abs(x) >= 100 or x == int(x) else f"{x:.3g}"


def spread(values):
    return f"{shown(min(values))}..{shown(max(values))}" if len(values) > 1 else ""


def table(scenario, rows, a):
    """The Markdown lines of one scenario; `a` has the systems and the baseline."""
    figure, unit, larger, more = figures(scenario)
    base = rows.get((scenario, a.baseline), {})
    head = [
        "system",
        "profile",
        unit,
        "spread",
        f"× {a.baseline}",
        "range",
        *[h for _, h in more],
        "N",
        "runs",
    ]
    text = ["", f"### {scenario}", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines = []
    for system in a.systems:
        runs = {
            k: r
            for k, r in rows.get((scenario, system), {}).items()
            if r.get(figure) is not None and "error" not in r
        }
        if not runs:
            lines.append((float("-inf"), [system, "", "failed"] + [""] * (len(head) - 3)))
            continue
        values = [r[figure] for r in runs.values()]
        ratios = []
        for k, r in runs.items():
            b = base.get(k, {}).get(figure)
            if b and r[figure] and "error" not in base[k]:
                ratios.append(r[figure] / b if larger else b / r[figure])
        median = statistics.median(values)
        cells = [
            system.partition(":")[0],
            next(iter(runs.values()))["profile"],
            shown(median),
            spread(values),
            f"{statistics.median(ratios):.2f}" if ratios else "-",
            spread(ratios) if ratios else "",
        ]
        for key, _ in more:
            have = [r[key] for r in runs.values() if r.get(key) is not None]
            cells.append(shown(statistics.median(have)) if have else "-")
        cells += [str(next(iter(runs.values())).get("n", "")), str(len(runs))]
        lines.append((median if larger else -median, cells))
    return text + ["| " + " | ".join(cells) + " |" for _, cells in sorted(lines, key=lambda x: -x[0])]


def versions(systems):
    """One line for each system: its Python and its exact versions."""
    found = []
    for name in dict.fromkeys(s.partition(":")[0] for s in systems):
        meta = run.load_meta(name)
        py = os.path.join(run.VENVS, meta["venv"], "bin", "python") if meta["venv"] else sys.executable
        code = "import importlib.metadata as m, platform, sys; print(platform.python_version(), *(d + ' ' + m.version(d) for d in sys.argv[1:]), sep=', ')"
        p = subprocess.run([py, "-c", code, *meta.get("dists", [])], capture_output=True, text=True)
        found.append(f"{name} (Python {p.stdout.strip() or '?'})")
    return found


def processor():
    try:
        with open("/proc/cpuinfo") as f:
            return re.search(r"^model name\s*: (.*)$", f.read(), re.M)[1]
    except (OSError, TypeError):
        return platform.processor() or platform.machine()


def machine():
    """What it was measured on."""
    p = subprocess.run(["redis-server", "--version"], capture_output=True, text=True)
    redis = re.search(r"v=(\S+)", p.stdout)
    return (
        f"{os.cpu_count()} cores ({processor()}), {platform.system()} {platform.release()}, "
        f"Redis {redis[1] if redis else '-'}"
    )


def main():
    a = arguments()
    t0 = time.time()
    rows = measure(a)
    print(
        f"{machine()}; {a.repeat} interleaved repetitions in {(time.time() - t0) / 60:.0f} min. "
        f"Larger ratios are better everywhere. Versions: {'; '.join(versions(a.systems))}."
    )
    for scenario in a.scenarios:
        print("\n".join(table(scenario, rows, a)))
    return 1 if any("error" in r for v in rows.values() for r in v.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
