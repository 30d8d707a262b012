"""The plots of report.py: <venvs>/plots/bin/python bench/plots.py RAW DIRECTORY -> names of the SVG files written."""

import os
import statistics
import sys

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.ticker import FuncFormatter, NullLocator  # noqa: E402
from report import Results, parameter  # noqa: E402

OWN, OTHER, SECOND = "#c2410c", "#94a3b8", "#1d4ed8"
COUNT = FuncFormatter(lambda x, _: f"{x:,.0f}" if x >= 1 else f"{x:g}")

plt.rcParams.update(
    {
        "svg.fonttype": "none",  # text stays text: small files, the reader's font
        "svg.hashsalt": "umbel",
        "font.size": 9,
        "font.family": "sans-serif",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "axes.grid": True,
        "grid.color": "#e2e8f0",
        "axes.axisbelow": True,
        "legend.frameon": False,
    }
)


def label(system):
    return system.partition(":")[0]


def colour(system):
    return OWN if system.startswith("umbel") else OTHER


def ranked(r, scenario, figure, largest_last=True):
    """[(system, median, lowest, highest)] without the SQLite profiles, the best one on top of a horizontal chart."""
    found = []
    for system in r.systems(scenario):
        values = r.values(scenario, system, figure)
        if values and "sqlite" not in system:
            found.append((system, statistics.median(values), min(values), max(values)))
    return sorted(found, key=lambda x: x[1] if largest_last else -x[1])


def bars(ax, r, scenario, title):
    rows = ranked(r, scenario, "tasks_per_s")
    names = [label(s) for s, *_ in rows]
    middle = [m for _, m, _, _ in rows]
    errors = [[m - lo for _, m, lo, _ in rows], [hi - m for _, m, _, hi in rows]]
    ax.barh(names, middle, color=[colour(s) for s, *_ in rows], height=0.65)
    ax.errorbar(middle, names, xerr=errors, fmt="none", ecolor="#334155", elinewidth=1, capsize=2)
    for name, m, top in zip(names, middle, [x[3] for x in rows]):
        ax.annotate(
            f"{m:,.0f}", (top, name), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8
        )
    ax.set_title(title)
    ax.margins(x=0.15)
    ax.xaxis.set_major_formatter(COUNT)
    ax.grid(visible=False, axis="y")


def drain(r):
    wanted = [("drain", "results ignored, tasks/s"), ("drain_results", "results stored, tasks/s")]
    wanted = [x for x in wanted if r.systems(x[0])]
    if not wanted:
        return None
    fig, axes = plt.subplots(1, len(wanted), figsize=(4.6 * len(wanted), 3), squeeze=False)
    for ax, (scenario, title) in zip(axes[0], wanted):
        bars(ax, r, scenario, title)
    return fig


def latency(r):
    wanted = [("roundtrip", "delay() to get(), ms"), ("pickup", "pick-up by an idle worker, ms")]
    wanted = [x for x in wanted if r.systems(x[0])]
    if not wanted:
        return None
    fig, axes = plt.subplots(1, len(wanted), figsize=(4.6 * len(wanted), 3), squeeze=False)
    for ax, (scenario, title) in zip(axes[0], wanted):
        for system, p50, *_ in ranked(r, scenario, "p50_ms", largest_last=False):
            p99 = r.median(scenario, system, "p99_ms")
            ax.plot([p50, p99], [label(system)] * 2, color=colour(system), linewidth=2)
            ax.plot(p50, label(system), "o", color=colour(system), markersize=6)
            ax.plot(p99, label(system), "|", color=colour(system), markersize=9, markeredgewidth=2)
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        ax.set_title(title)
    return fig


def points(r, scenario, figure, system="umbel", prefix=""):
    """[(parameter, median, lowest, highest)] of a curve."""
    found = []
    for key in r.rows:
        if key[0].partition("=")[0] == scenario and key[1].startswith(system + prefix):
            values = r.values(*key, figure)
            if values:
                found.append((parameter(key), statistics.median(values), min(values), max(values)))
    return sorted(found)


def line(ax, rows, colour, text):
    xs, middle = [x[0] for x in rows], [x[1] for x in rows]
    ax.plot(xs, middle, "o-", color=colour, label=text, markersize=4)
    ax.fill_between(xs, [x[2] for x in rows], [x[3] for x in rows], color=colour, alpha=0.15, linewidth=0)


def scale(r):
    children, nodes = (points(r, "scale", "tasks_per_s", prefix=p) for p in (":prefork", ":nodes"))
    if not children and not nodes:
        return None
    fig, ax = plt.subplots(figsize=(5.2, 3.2))
    for rows, colour, text in (
        (children, OWN, "children of one worker"),
        (nodes, SECOND, "workers of one child each"),
    ):
        if rows:
            line(ax, rows, colour, text)
    top = max(x[0] for x in children + nodes)
    ax.plot([0, top], [0, top * 1000], ":", color="#64748b", label="1,000/s each: the limit")
    ax.set_xlabel("children, or workers")
    ax.set_ylabel("tasks of 1 ms, per second")
    ax.yaxis.set_major_formatter(COUNT)
    ax.set_ylim(0)
    ax.set_xlim(0)
    ax.legend()
    return fig


def queue(r):
    rates, costs = points(r, "queue", "tasks_per_s"), points(r, "queue", "worker_cpu_s_per_1000")
    if not rates:
        return None
    fig, axes = plt.subplots(1, 2, figsize=(8, 2.8))
    line(axes[0], rates, OWN, "")
    line(axes[1], [(x[0], *(1000 * y for y in x[1:])) for x in costs], OWN, "")
    for ax, title in zip(axes, ("tasks/s", "processor time of the worker, µs/task")):
        ax.set_xscale("log")
        ax.set_xlabel("length of the queue")
        ax.set_title(title)
        ax.set_ylim(0)
        ax.yaxis.set_major_formatter(COUNT)
        ax.xaxis.set_minor_locator(NullLocator())
    return fig


def payload(r):
    systems = [s for s in ("umbel", "huey", "celery") if points(r, "payload", "tasks_per_s", s)]
    if not systems:
        return None
    fig, ax = plt.subplots(figsize=(5.2, 3.2))
    for system, colour in zip(systems, (OWN, SECOND, OTHER) if len(systems) == 3 else (OWN, OTHER)):
        line(ax, points(r, "payload", "tasks_per_s", system), colour, system)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("bytes of the argument")
    ax.set_ylabel("tasks/s")
    ax.yaxis.set_major_formatter(COUNT)
    ax.legend()
    return fig


def memory(r):
    rows = list(r.rows.get(("memory_flat", "umbel"), {}).values())
    if not rows:
        return None
    samples = rows[-1]["samples_mb"]
    fig, ax = plt.subplots(figsize=(5.2, 3))
    for k in range(1, len(samples[0])):
        name, colour = ("node", OWN) if k == 1 else ("children" if k == 2 else None, SECOND)
        ax.plot([s[0] for s in samples], [s[k] for s in samples], color=colour, label=name, linewidth=1.5)
    ax.set_xlabel("tasks run")
    ax.set_ylabel("RSS, MB")
    ax.set_ylim(0)
    ax.xaxis.set_major_formatter(COUNT)
    ax.legend()
    return fig


def main():
    r, directory = Results(sys.argv[1]), sys.argv[2]
    for make in (drain, latency, scale, queue, payload, memory):
        fig = make(r)
        if fig is None:
            continue
        fig.tight_layout()
        fig.savefig(
            os.path.join(directory, make.__name__ + ".svg"),
            facecolor="white",
            metadata={"Date": None, "Creator": None},
        )
        plt.close(fig)
        print(make.__name__)


main()
