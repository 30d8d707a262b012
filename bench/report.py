#!/usr/bin/env python3
"""The lines of bench/all.py as Markdown and plots: python bench/report.py RAW [--docs docs/performance.md] [--no-plots]

Writes between the marks <!-- figures --> and <!-- /figures --> of the page, and the plots beside it in images/; without
--docs the Markdown goes to standard output. Ratios are taken within each repetition; their median is what is
compared with what was asked for. Standard library only; the plots need the environment `plots` (setup_venvs.sh plots).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import types

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import compare  # noqa: E402
import run  # noqa: E402

BEGIN, END = "<!-- figures -->", "<!-- /figures -->"


class Results:
    """The rows of a raw file."""

    def __init__(self, path):
        self.rows, self.failed = {}, []
        with open(path) as f:
            for row in map(json.loads, f):
                key = (row["scenario"], row["asked"])
                if "error" in row:
                    self.failed.append(row)
                else:
                    self.rows.setdefault(key, {})[row["rep"]] = row
        # What failed once and then ran is no failure.
        self.failed = [
            r for r in self.failed if r["rep"] not in self.rows.get((r["scenario"], r["asked"]), {})
        ]

    def systems(self, scenario):
        return [s for sc, s in self.rows if sc == scenario]

    def peers(self, scenario):
        """Those that are not Umbel."""
        return [s for s in self.systems(scenario) if not s.startswith("umbel")]

    def figures(self, scenario, system, figure):
        """{repetition: value}."""
        rows = self.rows.get((scenario, system), {})
        return {rep: row[figure] for rep, row in rows.items() if row.get(figure) is not None}

    def values(self, scenario, system, figure):
        return list(self.figures(scenario, system, figure).values())

    def median(self, scenario, system, figure):
        values = self.values(scenario, system, figure)
        return statistics.median(values) if values else None

    def ratios(self, scenario, system, peers, figure, best=max):
        """In each repetition: the figure of `system` over the best one of `peers`."""
        mine = self.figures(scenario, system, figure)
        found = []
        for rep, value in mine.items():
            others = [v for p in peers for r, v in self.figures(scenario, p, figure).items() if r == rep]
            if others and best(others):
                found.append(value / best(others))
        return found

    def best(self, scenario, figure, best=max):
        """The name of the peer with the best median."""
        medians = {p: self.median(scenario, p, figure) for p in self.peers(scenario)}
        medians = {p: m for p, m in medians.items() if m is not None}
        return best(medians, key=medians.get) if medians else "-"


# ------------------------------------------------------------------------------------- what was asked for
class Check:
    """One demand: what was asked, the measured values, and whether their median meets it."""

    def __init__(self, asked, values, bound, unit="", less=False, note=""):
        self.asked, self.values, self.unit, self.note = asked, values, unit, note
        self.met = None
        if values and bound is not None:
            median = statistics.median(values)
            self.met = median <= bound if less else median >= bound

    def cells(self):
        if not self.values:
            return [self.asked, "not measured", "", ""]
        median = compare.shown(statistics.median(self.values)) + self.unit
        verdict = "" if self.met is None else "met" if self.met else "**missed**"
        return [self.asked, median + (f" ({self.note})" if self.note else ""), spread(self.values), verdict]


def spread(values):
    return f"{compare.shown(min(values))} to {compare.shown(max(values))}" if len(values) > 1 else ""


def checks(r):
    """[(what, [Check ...])]: the table of what was asked for."""
    return [
        *_throughput(r),
        *_sending(r),
        *_latency(r),
        *_sqlite(r),
        *_at_rest(r),
        *_fair(r),
        *_flat(r),
    ]


def _throughput(r):
    found = []
    for scenario, title, celery, fastest in (
        ("drain", "drain no-ops, results ignored, 2 processes", 25, 4),
        ("drain_results", "drain no-ops, results stored, 2 processes", 15, 3),
    ):
        best = r.best(scenario, "tasks_per_s")
        found.append(
            (
                title,
                [
                    Check(
                        f"≥ {celery} × Celery",
                        r.ratios(scenario, "umbel", ["celery"], "tasks_per_s"),
                        celery,
                        " ×",
                    ),
                    Check(
                        f"≥ {fastest} × the fastest peer",
                        r.ratios(scenario, "umbel", r.peers(scenario), "tasks_per_s"),
                        fastest,
                        " ×",
                        note=best,
                    ),
                ],
            )
        )
    best = r.best("drain_io", "tasks_per_s")
    for profile, bound in (("threads100", 1.5), ("asyncio100", 2)):
        name = f"umbel:{profile}"
        found.append(
            (
                f"drain 10 ms sleeps, 100 at once, {profile[:-3]}",
                [
                    Check(
                        f"≥ {bound} × the best peer",
                        r.ratios("drain_io", name, r.peers("drain_io"), "tasks_per_s"),
                        bound,
                        " ×",
                        note=best,
                    ),
                    Check(
                        "processor time per task below every peer's",
                        r.ratios("drain_io", name, r.peers("drain_io"), "worker_cpu_s_per_1000", min),
                        1,
                        " × the lowest",
                        less=True,
                        note=r.best("drain_io", "worker_cpu_s_per_1000", min),
                    ),
                ],
            )
        )
    return found


def _sending(r):
    figure = "enqueue_tasks_per_s"
    return [
        (
            "`delay()`, one by one",
            [
                Check("≥ 3 × Celery", r.ratios("drain", "umbel", ["celery"], figure), 3, " ×"),
                Check(
                    "above every peer",
                    r.ratios("drain", "umbel", r.peers("drain"), figure),
                    1,
                    " ×",
                    note=r.best("drain", figure),
                ),
            ],
        ),
        (
            "sending in bulk, 1,000 at a time",
            [Check("≥ 30,000/s", r.values("enqueue_bulk", "umbel", "tasks_per_s"), 30_000, "/s")],
        ),
    ]


def _latency(r):
    found = []
    for scenario, title in (
        ("roundtrip", "round trip, `delay()` to `get()`"),
        ("pickup", "pick-up by an idle worker"),
    ):
        found.append(
            (
                title,
                [
                    Check(
                        "p50 ≤ 0.8 × the best peer",
                        r.ratios(scenario, "umbel", r.peers(scenario), "p50_ms", min),
                        0.8,
                        " ×",
                        less=True,
                        note=r.best(scenario, "p50_ms", min),
                    ),
                    Check("p99 ≤ 3 ms", r.values(scenario, "umbel", "p99_ms"), 3, " ms", less=True),
                ],
            )
        )
    return found


def _sqlite(r):
    name = "umbel:sqlite_prefork2"
    return [
        (
            "SQLite, drain no-ops, 2 processes",
            [Check("≥ 10,000/s", r.values("drain", name, "tasks_per_s"), 10_000, "/s")],
        ),
        (
            "SQLite, pick-up by an idle worker",
            [Check("p50 ≤ 5 ms", r.values("pickup", name, "p50_ms"), 5, " ms", less=True)],
        ),
    ]


def _at_rest(r):
    cores = [100 * v / 20 for v in r.values("idle", "umbel", "idle_cpu_s_per_20s")]
    each = [row["worker_cpu_s_per_1000"] * 1e3 for row in r.rows.get(("drain", "umbel"), {}).values()]
    split = next(iter(r.rows.get(("drain", "umbel"), {}).values()), {}).get("cpu_s_per_1000_each", [])
    note = ""
    if len(split) == 4:
        note = (
            f"in one run: node {split[1] * 1e3:.0f}, children {split[2] * 1e3:.0f} and {split[3] * 1e3:.0f}"
        )
    return [
        (
            "idle worker, 2 processes",
            [
                Check(
                    "≤ 2 Redis commands a second",
                    r.values("idle", "umbel", "requests_per_s"),
                    2,
                    "/s",
                    less=True,
                    note=f"with those that run in scripts {compare.shown(r.median('idle', 'umbel', 'broker_cmds_per_s'))}/s",
                ),
                Check("< 0.5 % of a core", cores, 0.5, " %", less=True),
                Check(
                    "PSS of the tree below Celery's",
                    r.ratios("idle", "umbel", ["celery"], "pss_mb"),
                    1,
                    " ×",
                    less=True,
                ),
            ],
        ),
        (
            "start of a worker to its first task",
            [
                Check(
                    "≤ 0.25 × Celery",
                    r.ratios("startup", "umbel", ["celery"], "start_to_first_task_s"),
                    0.25,
                    " ×",
                    less=True,
                )
            ],
        ),
        ("processor time per 1,000 no-ops, all processes", [Check("reported", each, None, " ms", note=note)]),
    ]


def _fair(r):
    free = r.values("fairness_steady", "umbel", "free_p99_ms")
    gap = r.values("fairness_backlog", "umbel", "gap_max_ms")
    return [
        (
            "fairness: 1 % tasks of 1 s among no-ops, 2 processes",
            [
                Check("waiting while a slot is free, p99: reported", free, None, " ms"),
                Check("longest gap of a process while something waits: reported", gap, None, " ms"),
            ],
        )
    ]


def _flat(r):
    costs = [r.median(f"queue={n}", "umbel", "worker_cpu_s_per_1000") for n in (10_000, 1_000_000)]
    return [
        (
            "queue of 10⁶ against one of 10⁴",
            [
                Check(
                    "processor time per task flat (≤ 1.2 ×)",
                    [costs[1] / costs[0]] if all(costs) else [],
                    1.2,
                    " ×",
                    less=True,
                )
            ],
        ),
        (
            "1,000,000 due in an hour, 200,000 waiting",
            [
                Check(
                    "RSS of the node grows by < 20 MB",
                    r.values("memory_waiting", "umbel", "node_growth_mb"),
                    20,
                    " MB",
                    less=True,
                )
            ],
        ),
        (
            "1,000,000 no-ops through one worker",
            [
                Check(
                    "node, bytes per 1,000 tasks: reported",
                    r.values("memory_flat", "umbel", "node_slope_bytes_per_1000"),
                    None,
                ),
                Check(
                    "child, bytes per 1,000 tasks: reported",
                    r.values("memory_flat", "umbel", "child_slope_bytes_per_1000"),
                    None,
                ),
            ],
        ),
    ]


def verdicts(r):
    lines = ["| | asked for | measured | spread | |", "|---|---|---|---|---|"]
    for title, found in checks(r):
        for check in found:
            lines.append("| " + " | ".join([title, *check.cells()]) + " |")
            title = ""
    return lines


# ------------------------------------------------------------------------------------------------ the rest
IMAGES = [
    ("drain", "Tasks per second from a full queue: no-ops, results ignored and stored, two processes each."),
    ("latency", "Round trip and pick-up: p50, and the line to p99."),
    ("scale", "Tasks of 1 ms: children of one worker, and workers of one child, on two cores."),
    ("queue", "Cost of a task and tasks per second, by the length of the queue."),
    ("payload", "Tasks per second, by the size of the argument."),
    ("memory", "RSS of node and children over the tasks that have run."),
]


def tables(r):
    """The peers' tables, then the curves."""
    lines = []
    for scenario in (
        "drain",
        "drain_results",
        "drain_io",
        "enqueue_bulk",
        "roundtrip",
        "pickup",
        "idle",
        "startup",
    ):
        systems = r.systems(scenario)
        if systems:
            base = "celery" if "celery" in systems else systems[0]
            a = types.SimpleNamespace(systems=systems, baseline=base)
            lines += compare.table(scenario, r.rows, a)
    for scenario in (
        "fairness_steady",
        "fairness_backlog",
        "scale",
        "queue",
        "payload",
        "memory_waiting",
        "memory_flat",
    ):
        lines += curve(r, scenario)
    return lines


def curve(r, scenario):
    """One table of all parameters and profiles of a scenario."""
    figure, unit, _, more = compare.FIGURES[scenario]
    keys = [key for key in r.rows if key[0].partition("=")[0] == scenario]
    if not keys:
        return []
    columns = [(figure, unit), *more]
    head = [
        "system",
        "profile",
        *(["at"] if "=" in keys[0][0] else []),
        unit,
        "spread",
        *[h for _, h in more],
        "N",
        "runs",
    ]
    lines = ["", f"### {scenario}", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for key in sorted(
        keys, key=lambda k: (k[1].partition(":")[0] != "umbel", k[1].partition(":")[0], parameter(k), k[1])
    ):
        rows = list(r.rows[key].values())
        medians = [r.median(*key, name) for name, _ in columns]
        cells = [key[1].partition(":")[0], rows[0]["profile"]]
        cells += [f"{parameter(key):,}"] if "=" in key[0] else []
        cells += [compare.shown(medians[0]), spread(r.values(*key, figure)), *map(compare.shown, medians[1:])]
        lines.append("| " + " | ".join([*cells, str(rows[0].get("n", "")), str(len(rows))]) + " |")
    return lines


def profile(r):
    """Where the time of a no-op goes: what was sampled, scaled to what it costs without the sampler."""
    rows = list(r.rows.get(("profile", "umbel"), {}).values())
    if not rows:
        return []
    costs = [
        row["cpu_s_per_1000_each"]
        for row in r.rows.get(("drain", "umbel"), {}).values()
        if len(row["cpu_s_per_1000_each"]) == 4
    ]
    lines = ["", "### Where the time of a no-op goes", "", "| process | | share | µs |", "|---|---|---|---|"]
    for who, column in (("node", slice(1, 2)), ("child", slice(2, 4))):
        cost = statistics.median(1000 * sum(each[column]) for each in costs) if costs else None
        kernel = rows[-1][f"{who}_kernel_percent"]
        lines.append(f"| {who} | **all of it; {kernel} % in the kernel** | | {micros(cost, 100)} |")
        for stage, share in rows[-1][f"{who}_percent"].items():
            lines.append(f"| | {stage} | {share:.0f} % | {micros(cost, share)} |")
    return lines


def micros(cost, percent):
    return "-" if cost is None else f"{cost * percent / 100:.1f}"


def parameter(key):
    """The number in ("queue=1000", ...) or (..., "umbel:nodes4"): what a curve is drawn over."""
    value = key[0].partition("=")[2] or "".join(c for c in key[1] if c.isdigit())
    return int(value or 0)


def report(r, images):
    systems = list(dict.fromkeys(s.partition(":")[0] for _, s in r.rows))
    repeats = max((len(rows) for rows in r.rows.values()), default=0)
    lines = [
        f"What was asked for and what was measured: medians of {repeats} interleaved repetitions, ratios taken within each",
        "repetition, with the range of the repetitions.",
        "",
        *verdicts(r),
        "",
    ]
    for name, text in IMAGES:
        if name in images:
            lines += [f"![{text}](images/{name}.svg)", "", f"*{text}*", ""]
    lines += [
        f"{compare.machine()}.{disturbance(r)} Larger ratios are better everywhere. Versions: "
        f"{'; '.join(compare.versions(systems))}.",
        *tables(r),
        *profile(r),
    ]
    if r.failed:
        lines += [
            "",
            "Failed: " + "; ".join(sorted({f"{x['scenario']} {x['asked']}" for x in r.failed})) + ".",
        ]
    return "\n".join(lines)


def disturbance(r):
    """How much processor time went to programs that had no part in the runs."""
    cores = [
        row["foreign_cores"] for rows in r.rows.values() for row in rows.values() if "foreign_cores" in row
    ]
    if not cores:
        return ""
    high = sorted(cores)[int(0.95 * len(cores))]
    return f" Other programs took {statistics.median(cores):.2f} of a core meanwhile (95 % of the runs: at most {high:.2f})."


def draw(raw, directory):
    """Draw what the rows allow; returns the names of the plots."""
    python = os.path.join(run.VENVS, "plots", "bin", "python")
    if not os.path.exists(python):
        print("no plots: bench/setup_venvs.sh plots makes their environment", file=sys.stderr)
        return []
    os.makedirs(directory, exist_ok=True)
    argv = [python, os.path.join(HERE, "plots.py"), raw, directory]
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout.split()


def write_into(page, text):
    with open(page) as f:
        old = f.read()
    head, found, rest = old.partition(BEGIN)
    if not found or END not in rest:
        raise SystemExit(f"{page} has no {BEGIN} ... {END}")
    with open(page, "w") as f:
        f.write(head + BEGIN + "\n" + text + "\n" + rest[rest.index(END) :])


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("raw")
    ap.add_argument("--docs", default="")
    ap.add_argument("--no-plots", action="store_true")
    a = ap.parse_args()
    images = []
    if not a.no_plots:
        images = draw(
            a.raw, os.path.join(os.path.dirname(a.docs) if a.docs else os.path.dirname(a.raw), "images")
        )
    text = report(Results(a.raw), images)
    if a.docs:
        write_into(a.docs, text)
    else:
        print(text)


if __name__ == "__main__":
    main()
