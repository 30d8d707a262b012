"""Further scenarios of run.py: fairness, the scale curves, payloads and memory. Each takes the Bench and returns its figures.

`--scenario NAME=VALUE` gives a scenario its parameter (`queue=100000`, `payload=10000`). The curves and the memory
scenarios know the processes of an Umbel worker: supervisor, node (its first child) and children.
"""

import bisect
import os
import re
import struct
import subprocess
import time

SAMPLE_SECONDS = 0.25


def quantile(values, p):
    """The p-quantile of sorted `values`."""
    return values[min(len(values) - 1, int(p * len(values)))]


def ms_of(values, *ps):
    """{"p50_ms": ...} of sorted nanoseconds."""
    return {("max" if p == 1 else f"p{p * 100:g}") + "_ms": round(quantile(values, p) / 1e6, 3) for p in ps}


# ------------------------------------------------------------------------------------------------- processes
def started_at(pid):
    with open(f"/proc/{pid}/stat") as f:
        return int(f.read().rpartition(")")[2].split()[19])


def roles(b, ps):
    """(pid of the node, pids of the children) of an Umbel worker: the supervisor starts the node first."""
    with open(f"/proc/{ps[0].pid}/task/{ps[0].pid}/children") as f:
        node, *children = sorted(map(int, f.read().split()), key=lambda pid: (started_at(pid), pid))
    return node, children


def times(pid):
    """(user, system) ticks."""
    with open(f"/proc/{pid}/stat") as f:
        return tuple(map(int, f.read().rpartition(")")[2].split()[11:13]))


def rss_bytes(pid):
    """Its RSS, without the shared memory in which the benchmark's tasks record their start (16 bytes each)."""
    with open(f"/proc/{pid}/status") as f:
        kib = {x: int(y) for x, y in re.findall(r"^(VmRSS|RssShmem):\s+(\d+)", f.read(), re.M)}
    return (kib["VmRSS"] - kib["RssShmem"]) * 1024


def peak_bytes(pid):
    """The highest RSS that it has had (a node does not touch the shared memory)."""
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"^VmHWM:\s+(\d+)", f.read(), re.M)[1]) * 1024


def read_log(b):
    """[(id, nanoseconds, pid, 0: started or 1: ended)] of the kinds that write it (ms, mix)."""
    with open(os.path.join(b.dir, "log.bin"), "rb") as f:
        data = f.read()
    return list(struct.iter_unpack("<qqii", data[: len(data) // 24 * 24]))


def runs_of(log):
    """{id: (start, end, pid)} of the runs that have ended."""
    begun, runs = {}, {}
    for i, t, pid, phase in log:
        if phase == 0:
            begun[i] = t
        elif i in begun:
            runs[i] = (begun[i], t, pid)
    return runs


# -------------------------------------------------------------------------------------------------- fairness
def is_long(i):
    return i % 100 == 50  # as benchlib.is_long


def free_time(runs, slots):
    """A function of time: for how long, until then, fewer than `slots` runs were under way (nanoseconds)."""
    edges = sorted([(start, 1) for start, _, _ in runs.values()] + [(end, -1) for _, end, _ in runs.values()])
    times, free, busy, total, last = [0], [0], 0, 0, 0
    for t, step in edges:
        if busy < slots:
            total += t - last
        times.append(t)
        free.append(total)
        busy += step
        last = t
    levels = []
    busy = 0
    for _, step in edges:
        busy += step
        levels.append(busy)

    def until(t):
        k = bisect.bisect_right(times, t) - 1
        level = levels[k - 1] if k else 0
        return free[k] + (t - times[k] if level < slots else 0)

    return until


def fairness_steady(b):
    """1 % of the tasks take 1 s, the others nothing, one every 10 ms, on two processes (half of their time).

    For each of the others: how long it waited, and for how much of that one of the two processes ran nothing.
    """
    n = b.n(1500)
    b.start(n + 60)
    b.producer("fill", 1, kind="noop", start=n + 59)
    ps = b.worker()
    b.ready(n + 59, ps)
    time.sleep(1.0)
    sent = b.producer("pickup", n, kind="mix", interval=0.01)["sent_ns"]
    b.wait_slots(0, n, 60)
    time.sleep(1.2)
    runs = runs_of(read_log(b))
    until = free_time(runs, 2)
    short = [i for i in runs if not is_long(i)]
    delays = sorted(runs[i][0] - sent[i] for i in short)
    idle = sorted(until(runs[i][0]) - until(sent[i]) for i in short)
    return {
        "n": n,
        "done": len(runs),
        **{"delay_" + k: v for k, v in ms_of(delays, 0.5, 0.99, 1).items()},
        **{"free_" + k: v for k, v in ms_of(idle, 0.5, 0.99, 1).items()},
    }


def fairness_backlog(b):
    """The same mixture, all of it queued before the worker starts: the gaps in which a process ran nothing."""
    n = b.n(1000)
    b.start(n)
    b.producer("fill", n, kind="mix")
    b.worker()
    b.wait_slots(0, n, 110)
    time.sleep(1.2)
    runs = runs_of(read_log(b))
    last = max(start for i, (start, _, _) in runs.items() if not is_long(i))
    gaps, seconds = [], 0
    by_pid = {}
    for start, end, pid in sorted(runs.values()):
        by_pid.setdefault(pid, []).append((start, end))
    for mine in by_pid.values():
        ends = [end for _, end in mine]
        starts = [start for start, _ in mine[1:]] + [last]
        gaps += [min(start, last) - end for start, end in zip(starts, ends) if end < last]
        seconds += max(0, last - mine[0][0])
    gaps.sort()
    return {
        "n": n,
        "done": len(runs),
        "processes": len(by_pid),
        "idle_percent": round(100 * sum(gaps) / seconds, 2),
        **{"gap_" + k: v for k, v in ms_of(gaps, 0.5, 0.99, 1).items()},
    }


# ------------------------------------------------------------------------------------------------- the curves
def scale(b):
    """Tasks of 1 ms on all children of the profile: tasks per second from when the last one was sent."""
    children = b.prof["children"]
    n = b.n(2000 + 2000 * children)
    extra = 200 * children
    b.start(n + extra * 50)
    ps = b.worker()
    seen, start, end = set(), n, time.time() + 60
    while len(seen) < children:  # every child runs something first, so that start-up does not count
        if time.time() > end or start + extra > n + extra * 50:
            raise RuntimeError(f"{len(seen)} of {children} children ran something: " + b.logs())
        b.producer("fill", extra, kind="ms", start=start)
        b.wait_slots(start, start + extra, 60, ps=ps)
        start += extra
        seen = {pid for _, _, pid, _ in read_log(b)}
    pids = b.pids(ps)
    sent = b.producer("fill", n, kind="ms")["t_last"]
    done = b.wait_slots(0, n, 100, ps=ps)
    starts = sorted(t for i, t, _, phase in read_log(b) if phase == 0 and i < n and t >= sent)
    pss, _ = b.memory(pids)
    return {
        "n": n,
        "children": children,
        "done": done,
        "measured": len(starts),
        "tasks_per_s": round((len(starts) - 1) / ((starts[-1] - starts[0]) / 1e9), 1),
        "pss_mb_after": pss,
    }


def queue(b):
    """No-ops from a queue that is `value` long at first: tasks per second over the first 20,000 (or as many as there
    are, and then again until it is 20,000), and what they cost worker and broker."""
    length, take = b.value or 1000, b.n(20000)
    rounds = max(1, take // length)
    b.start(length * rounds + 1)
    if rounds == 1:
        fill = b.producer("fill", length, timeout=300)
        ps = b.worker()
    else:
        b.producer("fill", 1, start=length * rounds)
        ps = b.worker()
        b.ready(length * rounds, ps)
    seconds = tasks = cpu = redis = 0.0
    for k in range(rounds):
        lo, hi = k * length, (k + 1) * length if rounds > 1 else min(take, length)
        pids = b.pids(ps)
        c0, r0 = b.cpu(pids), b.svc.cpu()
        if rounds > 1:
            fill = b.producer("fill", length, start=lo)
        else:
            b.wait_slots(0, 1, 60, poll=0.001)
            pids = b.pids(ps)
            c0, r0 = b.cpu(pids), b.svc.cpu()
        if b.wait_slots(lo, hi, 60, poll=0.005) < hi - lo:
            raise RuntimeError("not all were executed: " + b.logs())
        cpu, redis = cpu + b.cpu(pids) - c0, redis + b.svc.cpu() - r0
        starts = [b.mm[2 * i] for i in range(lo, hi)]
        seconds += (max(starts) - min(starts)) / 1e9
        tasks += hi - lo - 1
    row = {
        "n": int(tasks),
        "length": length,
        "tasks_per_s": round(tasks / seconds, 1),
        "worker_cpu_s_per_1000": round(cpu / tasks * 1000, 4),
        "enqueue_tasks_per_s": round(length / fill["seconds"], 1),
    }
    # With rounds the producer's sends are in the broker's time.
    return row if rounds > 1 else dict(row, redis_cpu_s_per_1000=round(redis / tasks * 1000, 4))


PAYLOADS = {100: 10000, 1000: 10000, 10_000: 5000, 100_000: 1000, 1_000_000: 150}


def payload(b):
    """Tasks with one text argument of `value` bytes, sent one by one, then drained by two processes."""
    size = b.value or 1000
    n = b.n(PAYLOADS.get(size, 1000))
    b.start(n)
    sent = b.producer("blobs", n, size=size)
    ps = b.worker()
    b.wait_slots(0, 1, 60, poll=0.001)
    done = b.wait_slots(0, n, 100, ps=ps)
    starts = sorted(b.mm[2 * i] for i in range(n) if b.mm[2 * i])
    rate = (len(starts) - 1) / ((starts[-1] - starts[0]) / 1e9)
    return {
        "n": n,
        "size": size,
        "done": done,
        "tasks_per_s": round(rate, 1),
        "mb_per_s": round(rate * size / 1e6, 2),
        "enqueue_tasks_per_s": round(sent["rate"], 1),
        "pss_mb_after": b.memory(b.pids(ps))[0],
    }


# ---------------------------------------------------------------------------------------------------- memory
def watch(b, ps, lo, hi, timeout):
    """[(tasks started, RSS of the node, RSS of each child ...)] until all of [lo, hi) have started."""
    node, children = roles(b, ps)
    samples, at, end = [], lo, time.time() + timeout
    while at < hi:
        time.sleep(SAMPLE_SECONDS)
        while at < hi and b.mm[2 * at]:
            at += 1
        samples.append((at - lo, rss_bytes(node), *map(rss_bytes, children)))
        if time.time() > end:
            raise RuntimeError(f"{at - lo} of {hi - lo} started: " + b.logs())
    return samples


def slope(points):
    """Least squares: bytes per 1,000 tasks of [(tasks, bytes)]."""
    n = len(points)
    mx, my = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - mx) ** 2 for x, _ in points)
    return 1000 * sum((x - mx) * (y - my) for x, y in points) / spread if spread else 0.0


def memory_waiting(b):
    """The highest RSS of a node that has run 2,000 tasks with nothing else in the broker, and that of one that finds
    `n` tasks due in an hour and n/5 waiting (sent in bulk) and runs the waiting ones."""
    due = b.n(1_000_000)
    waiting, warm = due // 5, 2000
    b.start(warm + waiting + due)
    ps = b.worker()
    b.producer("fill", warm)
    b.wait_slots(0, warm, 60, ps=ps)
    time.sleep(1.0)
    before = peak_bytes(roles(b, ps)[0])
    b.stop(ps)
    b.producer("fill_eta_bulk", due, start=warm + waiting, delay=3600, timeout=400)
    b.producer("fill", waiting, start=warm, timeout=200)
    ps = b.worker()
    if b.wait_slots(warm, warm + waiting, 250, ps=ps) < waiting:
        raise RuntimeError("not all that waited was executed: " + b.logs())
    time.sleep(5.0)  # the look-out for due tasks has passed several times
    node, _ = roles(b, ps)
    top, after = peak_bytes(node), rss_bytes(node)
    started = sum(1 for i in range(warm + waiting, warm + waiting + due, 997) if b.mm[2 * i])
    return {
        "n": due,
        "waiting": waiting,
        "node_rss_mb_before": round(before / 1e6, 2),
        "node_rss_mb_top": round(top / 1e6, 2),
        "node_rss_mb_after": round(after / 1e6, 2),
        "node_growth_mb": round((top - before) / 1e6, 2),
        "due_tasks_started": started,
    }


def memory_flat(b):
    """`n` no-ops through one worker, at most 20,000 of them in the broker: RSS of node and children, and its slope
    after the first fifth, by least squares."""
    n = b.n(1_000_000)
    b.start(n)
    ps = b.worker()
    feeder = b.producer("feed", n, wait=False)
    b.wait_slots(0, 1, 60, poll=0.005, ps=ps)
    samples = watch(b, ps, 0, n, 60 + n / 2000)
    b.producer_result(feeder, 60)
    late = [s for s in samples if s[0] >= n // 5]
    slopes = [round(slope([(s[0], s[k]) for s in late])) for k in range(1, len(samples[0]))]
    step = max(1, len(samples) // 100)
    return {
        "n": n,
        "node_slope_bytes_per_1000": slopes[0],
        "child_slope_bytes_per_1000": max(slopes[1:], key=abs),
        "node_rss_mb_warm": round(late[0][1] / 1e6, 2),
        "node_rss_mb_end": round(samples[-1][1] / 1e6, 2),
        "child_rss_mb_end": round(max(samples[-1][2:]) / 1e6, 2),
        "samples_mb": [[s[0], *(round(x / 1e6, 2) for x in s[1:])] for s in samples[::step]],
    }


# ------------------------------------------------------------------------------------------- where time goes
# What a frame of a stack belongs to, asked from the innermost frame outwards.
NODE_STAGES = [
    ("worker/crew.py", "hand calls to the children"),
    ("kombu_json.py", "read the messages"),
    ("redis/shelves.py", "read the messages"),
    ("worker/settler.py", "settle"),
    ("redis/settling.py", "settle"),
    ("worker/fetcher.py", "fetch: ask, lease, admit"),
    ("worker/line.py", "hear what the children report"),
    ("worker/node.py", "the node's clock"),
    ("asyncio/", "the event loop, its callbacks' system calls"),
]
CHILD_STAGES = [
    ("ChildEnd.report", "report the outcome"),
    ("worker/ipc.py", "hear from the node"),
    ("codecs/", "decode the call"),
    ("core/", "decode the call"),
    ("adapters/", "the task itself"),
    ("benchlib.py", "the task itself"),
    ("umbel/context.py", "the task's context"),
    ("umbel/execution.py", "call and conclude"),
    ("umbel/task.py", "call and conclude"),
    ("worker/", "call and conclude"),
]


def shares(path, stages):
    """{stage: share in percent} of the collapsed stacks that py-spy has written."""
    found, total = {}, 0
    with open(path) as f:
        for line in f:
            stack, _, samples = line.rpartition(" ")
            stage = next(
                (name for frame in reversed(stack.split(";")) for part, name in stages if part in frame),
                "else",
            )
            found[stage] = found.get(stage, 0) + int(samples)
            total += int(samples)
    return {name: round(100 * k / total, 1) for name, k in sorted(found.items(), key=lambda x: -x[1])}


def profile(b):
    """Where node and child spend the interpreter's time while no-ops are drained (py-spy samples both whenever they hold
    it), and how much of their processor time is the kernel's."""
    n = b.n(250_000)
    spy = os.path.join(b.venvs, "plots", "bin", "py-spy")
    if not os.path.exists(spy):
        raise RuntimeError("no py-spy: bench/setup_venvs.sh plots makes its environment")
    b.start(n)
    b.producer("fill", n)
    ps = b.worker()
    b.wait_slots(0, 1, 60, poll=0.005, ps=ps)
    node, children = roles(b, ps)
    jobs = []
    for name, pid in (("node", node), ("child", children[0])):
        out = os.path.join(b.dir, name + ".stacks")
        argv = [spy, "record", "--gil", "--nonblocking", "-r", "100", "-d", "5", "-f", "raw", "-o", out]
        argv += ["-p", str(pid)]
        jobs.append(subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    before = [times(pid) for pid in (node, children[0])]
    for job in jobs:
        job.wait(60)
    after = [times(pid) for pid in (node, children[0])]
    kernel = [round(100 * (s1 - s0) / max(1, u1 - u0 + s1 - s0)) for (u0, s0), (u1, s1) in zip(before, after)]
    left = sum(1 for i in range(0, n, 100) if not b.mm[2 * i]) * 100
    return {
        "n": n,
        "left": left,  # 0: the queue was empty before the samples were taken, so that some show waiting
        "node_percent": shares(os.path.join(b.dir, "node.stacks"), NODE_STAGES),
        "child_percent": shares(os.path.join(b.dir, "child.stacks"), CHILD_STAGES),
        "node_kernel_percent": kernel[0],
        "child_kernel_percent": kernel[1],
    }


SCENARIOS = {
    f.__name__: f
    for f in (fairness_steady, fairness_backlog, scale, queue, payload, memory_waiting, memory_flat, profile)
}
