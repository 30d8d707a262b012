#!/usr/bin/env python3
"""python bench/run.py --system NAME --scenario S [--profile P] [--n N]  -> one JSON line on stdout.

Standard library only. See README.md for what each scenario measures. Environment:
  BENCH_VENVS       where the peers' venvs are          (default <tmp>/bench-venvs)
  BENCH_LOCK        flock(2)ed around the run           (default <tmp>/bench.lock; BENCH_LOCK=none: no lock)
  BENCH_REDIS_PORT  port of the private redis-server    (default: a free one)
  BENCH_PG_BIN / BENCH_PG_PORT  PostgreSQL binaries and port (default: newest under the Debian path, 5490)
  BENCH_PG_SYNC     synchronous_commit                  (default on)
"""

import argparse
import ast
import contextlib
import fcntl
import glob
import json
import mmap
import os
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

import scenarios

HERE = os.path.dirname(os.path.abspath(__file__))
TMP = tempfile.gettempdir()
VENVS = os.environ.get("BENCH_VENVS", os.path.join(TMP, "bench-venvs"))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


PORT = int(os.environ.get("BENCH_REDIS_PORT") or free_port())
PG_PORT = int(os.environ.get("BENCH_PG_PORT", "5490"))
TICK = os.sysconf("SC_CLK_TCK")
LIMIT = 120.0
ns = time.monotonic_ns


def load_meta(system):
    """The adapter's literal META dict, read without importing the adapter (its library is in another venv)."""
    with open(os.path.join(HERE, "adapters", system + ".py")) as f:
        for node in ast.parse(f.read()).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "META":
                return ast.literal_eval(node.value)
    raise SystemExit("no META in adapter " + system)


# ---------------------------------------------------------------------------------------------- services
def wait_port(port, timeout=20):
    t = time.time() + timeout
    while time.time() < t:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 0.5).close()
            return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on {port}")


class Redis:
    def __init__(self, run_dir):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", PORT), 0.5).close()
            raise RuntimeError(f"port {PORT} is taken; set BENCH_REDIS_PORT")
        self.p = subprocess.Popen(
            [
                "redis-server",
                "--port",
                str(PORT),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
                "--dir",
                run_dir,
                "--loglevel",
                "warning",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_port(PORT)

    def cmd(self, *args):
        s = socket.create_connection(("127.0.0.1", PORT), 10)
        s.sendall(
            b"".join(
                [b"*%d\r\n" % len(args)] + [b"$%d\r\n%s\r\n" % (len(x), x) for x in map(str.encode, args)]
            )
        )
        buf = b""
        while True:
            buf += s.recv(1 << 20)
            if buf[:1] != b"$":
                if buf.endswith(b"\r\n"):
                    break
            else:
                head, _, rest = buf.partition(b"\r\n")
                if _ and len(rest) >= int(head[1:]) + 2:
                    break
        s.close()
        return buf.decode("utf8", "replace")

    def commandstats(self):
        return {
            m[0]: int(m[1])
            for m in re.findall(r"cmdstat_([\w|.]+):calls=(\d+)", self.cmd("INFO", "commandstats"))
            if m[0] not in ("info",)
        }

    def requests(self, seconds):
        """How many commands clients send in `seconds`, without those that run inside their scripts."""
        seen, end = b"", time.time() + seconds
        with socket.create_connection(("127.0.0.1", PORT), 10) as s:
            s.sendall(b"MONITOR\r\n")
            while (left := end - time.time()) > 0:
                s.settimeout(left)
                with contextlib.suppress(socket.timeout):
                    seen += s.recv(1 << 20)
        return sum(1 for line in seen.split(b"\r\n")[1:] if line and b" lua] " not in line)

    def cpu(self):
        return tree_cpu([self.p.pid])

    def stop(self):
        self.p.kill()
        self.p.wait()


class Postgres:
    """One private cluster in <tmp>/bench-pg-PORT, run as user `postgres`, left running between runs; a new DB per run."""

    def __init__(self, run_dir):
        self.bin = os.environ.get("BENCH_PG_BIN") or sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
        self.dir = os.path.join(TMP, f"bench-pg-{PG_PORT}")
        try:
            socket.create_connection(("127.0.0.1", PG_PORT), 0.5).close()
        except OSError:
            shutil.rmtree(self.dir, ignore_errors=True)
            os.mkdir(self.dir)
            shutil.chown(self.dir, "postgres", "postgres")
            self.su(f"{self.bin}/initdb -D {self.dir}/data -A trust -U bench")
            self.su(
                f'{self.bin}/pg_ctl -D {self.dir}/data -w -l {self.dir}/log -o "-p {PG_PORT} -h 127.0.0.1 -k {self.dir} '
                f'-c synchronous_commit={os.environ.get("BENCH_PG_SYNC", "on")} -c max_connections=200" start'
            )
            wait_port(PG_PORT)
        self.db = f"b{os.getpid()}"
        self.sql("postgres", f"create database {self.db}")
        self.dsn = f"postgresql://bench@127.0.0.1:{PG_PORT}/{self.db}"

    def su(self, c):
        subprocess.run(
            ["su", "postgres", "-s", "/bin/sh", "-c", c], check=True, stdout=subprocess.DEVNULL, cwd="/"
        )

    def sql(self, db, q):
        return subprocess.run(
            [
                f"{self.bin}/psql",
                "-h",
                "127.0.0.1",
                "-p",
                str(PG_PORT),
                "-U",
                "bench",
                "-qAt",
                "-d",
                db,
                "-c",
                q,
            ],
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def cpu(self):
        return 0.0

    def commandstats(self):
        # transactions, not commands; statistics arrive with up to ~1 s delay
        return {
            "xact": int(
                self.sql(
                    self.db,
                    "select xact_commit+xact_rollback from pg_stat_database where datname=current_database()",
                )
            )
        }

    def stop(self):
        with contextlib.suppress(Exception):
            self.sql("postgres", f"drop database {self.db} with (force)")


class Rabbit:
    """A private RabbitMQ node (own port, own data directory, own epmd), started and stopped with the run. As root it runs as
    the Debian package's `rabbitmq` user."""

    def __init__(self, run_dir):
        self.port = PORT + 500
        d = os.path.join(run_dir, "rabbit")
        os.mkdir(d)
        os.chmod(run_dir, 0o755)
        self.env = dict(
            os.environ,
            HOME=d,
            RABBITMQ_NODENAME=f"bench{self.port}@localhost",
            RABBITMQ_NODE_PORT=str(self.port),
            RABBITMQ_DIST_PORT=str(self.port + 2000),
            RABBITMQ_MNESIA_BASE=d,
            RABBITMQ_LOG_BASE=d,
            RABBITMQ_CONFIG_FILE=os.path.join(d, "none"),
            RABBITMQ_ENABLED_PLUGINS_FILE=os.path.join(d, "plugins"),
            ERL_EPMD_PORT=str(self.port + 4000),
            ERL_EPMD_ADDRESS="127.0.0.1",
            RABBITMQ_NODE_IP_ADDRESS="127.0.0.1",
        )
        kw = {}
        if os.getuid() == 0:
            shutil.chown(d, "rabbitmq", "rabbitmq")
            kw = {"user": "rabbitmq", "group": "rabbitmq", "extra_groups": []}
        self.p = subprocess.Popen(
            ["/usr/lib/rabbitmq/bin/rabbitmq-server"],
            env=self.env,
            cwd=d,
            start_new_session=True,
            stdout=open(os.path.join(run_dir, "rabbit.log"), "ab"),
            stderr=subprocess.STDOUT,
            **kw,
        )
        wait_port(self.port, 40)
        time.sleep(1)
        self.dsn = ""

    def cpu(self):
        return tree_cpu(tree(self.p.pid))

    def commandstats(self):
        return {}

    def stop(self):
        for q in tree(self.p.pid):
            with contextlib.suppress(OSError):
                os.kill(q, signal.SIGKILL)
        self.p.wait()
        # its epmd detaches from the session: find it by the port in its environment
        for d in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if (
                    open(f"/proc/{d}/comm").read().strip() == "epmd"
                    and f"ERL_EPMD_PORT={self.env['ERL_EPMD_PORT']}\0" in open(f"/proc/{d}/environ").read()
                ):
                    os.kill(int(d), signal.SIGKILL)


class NoService:
    dsn = ""

    def __init__(self, run_dir):
        pass

    def cpu(self):
        return 0.0

    def commandstats(self):
        return {}

    def stop(self):
        pass


# ---------------------------------------------------------------------------------------------- processes
def stat_of(pid):
    with open(f"/proc/{pid}/stat") as f:
        s = f.read()
    v = s[s.rindex(")") + 2 :].split()
    return {"state": v[0], "ppid": int(v[1]), "sid": int(v[3]), "cpu": sum(map(int, v[11:15])) / TICK}


def tree(root):
    """All processes of root's session, and all descendants of root."""
    st = {}
    for d in os.listdir("/proc"):
        if d.isdigit():
            with contextlib.suppress(OSError, ValueError):
                st[int(d)] = stat_of(int(d))
    want = {root} if root in st else set()
    want |= {p for p, s in st.items() if s["sid"] == root}
    grew = True
    while grew:
        new = {p for p, s in st.items() if s["ppid"] in want} - want
        grew = bool(new)
        want |= new
    return sorted(p for p in want if st[p]["state"] != "Z")


def tree_cpu(pids):
    t = 0.0
    for p in pids:
        with contextlib.suppress(OSError, ValueError):
            t += stat_of(p)["cpu"]
    return t


def busy_cpu():
    with open("/proc/stat") as f:
        v = list(map(int, f.readline().split()[1:]))
    return (sum(v[:3]) + sum(v[5:7])) / TICK


def mem_mb(pids):
    pss = rss = 0
    for p in pids:
        with contextlib.suppress(OSError):
            with open(f"/proc/{p}/smaps_rollup") as f:
                s = f.read()
            pss += int(re.search(r"^Pss:\s+(\d+)", s, re.M)[1])
            rss += int(re.search(r"^Rss:\s+(\d+)", s, re.M)[1])
    return round(pss / 1024, 1), round(rss / 1024, 1)


class Bench:
    def __init__(self, a):
        self.a = a
        self.meta = load_meta(a.system)
        sc = self.meta.get("scenario_profile", {})
        self.profile = a.profile or sc.get(a.scenario) or self.meta["default_profile"]
        self.prof = self.meta["profiles"][self.profile]
        self.value = int(a.value) if a.value else None
        self.venv = os.path.join(VENVS, self.meta["venv"])
        self.py = os.path.join(self.venv, "bin", "python") if self.meta["venv"] else sys.executable
        base = "/dev/shm" if os.path.isdir("/dev/shm") else TMP
        self.dir = tempfile.mkdtemp(prefix="bench-", dir=base)
        self.disk = tempfile.mkdtemp(
            prefix="bench-disk-"
        )  # for what a system itself writes: fsync must cost what it costs
        self.workers = []
        self.svc = None
        self.mm = None

    def n(self, default):
        return (
            self.a.n
            or self.meta.get("n", {}).get(self.profile + ":" + self.a.scenario)
            or self.meta.get("n", {}).get(self.a.scenario)
            or default
        )

    def start(self, slots):
        with open(os.path.join(self.dir, "slots.bin"), "wb") as f:
            f.truncate(max(1, slots) * 16)
        open(os.path.join(self.dir, "log.bin"), "wb").close()
        fd = os.open(os.path.join(self.dir, "slots.bin"), os.O_RDWR)
        self.mm = memoryview(mmap.mmap(fd, 0)).cast("q")
        os.close(fd)
        self.svc = {"redis": Redis, "postgres": Postgres, "rabbitmq": Rabbit, "none": NoService}[
            self.prof.get("broker", self.meta["broker"])
        ](self.dir)
        self.env = {
            k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "TMPDIR", "LC_ALL", "USER")
        }
        self.env.update(
            BENCH_RUN_DIR=self.dir,
            BENCH_DISK_DIR=self.disk,
            BENCH_REDIS_PORT=str(PORT),
            BENCH_AMQP_PORT=str(PORT + 500),
            BENCH_PROFILE=self.profile,
            BENCH_SCENARIO=self.a.scenario,
            BENCH_OPTS=json.dumps(self.prof.get("opts", {})),
            BENCH_PG_DSN=getattr(self.svc, "dsn", ""),
            PYTHONPATH=HERE,
            PYTHONDONTWRITEBYTECODE="1",
            PYTHONUNBUFFERED="1",
            PATH=os.path.join(self.venv, "bin") + os.pathsep + self.env.get("PATH", ""),
        )
        self.env.update(self.meta.get("env", {}))
        self.env.update(self.prof.get("env", {}))
        if self.meta.get("init"):
            subprocess.run(
                self.fmt(self.meta["init"]), env=self.env, cwd=HERE, check=True, stdout=subprocess.DEVNULL
            )

    def fmt(self, argv):
        return [
            x.format(
                py=self.py,
                bin=os.path.join(self.venv, "bin"),
                redis_url=f"redis://127.0.0.1:{PORT}/0",
                here=HERE,
                run_dir=self.dir,
            )
            for x in argv
        ]

    def worker(self):
        """Start the worker of this profile: one or more commands (META argv may be a list of argv lists)."""
        argvs = self.prof["argv"]
        if argvs and isinstance(argvs[0], str):
            argvs = [
                [x.replace("{k}", str(k)) for x in argvs] for k in range(1, self.prof.get("copies", 1) + 1)
            ]
        ps = []
        for k, argv in enumerate(argvs):
            out = open(os.path.join(self.dir, f"worker{len(self.workers)}-{k}.log"), "ab")
            ps.append(
                subprocess.Popen(
                    self.fmt(argv),
                    env=self.env,
                    cwd=HERE,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    start_new_session=True,
                )
            )
            out.close()
        self.workers.append(ps)
        return ps

    venvs = VENVS
    memory = staticmethod(mem_mb)
    cpu = staticmethod(tree_cpu)

    def stop(self, ps):
        """Warm shutdown."""
        for p in ps:
            p.terminate()
        for p in ps:
            p.wait(30)

    def pids(self, ps):
        return [q for p in ps for q in tree(p.pid)]

    def kill(self, ps):
        for _ in range(3):
            for q in self.pids(ps):
                with contextlib.suppress(OSError):
                    os.kill(q, signal.SIGKILL)
            time.sleep(0.02)
            if not self.pids(ps):
                break
        for p in ps:
            p.wait()

    def producer(self, op, n, *, kind="noop", start=0, timeout=LIMIT, wait=True, **kw):
        argv = [
            self.py,
            os.path.join(HERE, "producer.py"),
            "--system",
            self.a.system,
            "--op",
            op,
            "--n",
            str(n),
            "--kind",
            kind,
            "--start",
            str(start),
        ] + [x for k, v in kw.items() for x in ("--" + k, str(v))]
        p = subprocess.Popen(
            argv,
            env=self.env,
            cwd=HERE,
            stdout=subprocess.PIPE,
            stderr=open(os.path.join(self.dir, "producer.err"), "ab"),
            text=True,
        )
        if not wait:
            return p
        return self.producer_result(p, timeout)

    def producer_result(self, p, timeout=LIMIT):
        try:
            out, _ = p.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            p.kill()
            raise
        m = re.search(r"^BENCHJSON (.*)$", out, re.M)
        if not m:
            raise RuntimeError(
                "producer failed: " + open(os.path.join(self.dir, "producer.err")).read()[-1500:]
            )
        return json.loads(m[1])

    def wait_slots(self, lo, hi, timeout, poll=0.02, ps=None):
        """Wait until every slot in [lo, hi) has a start time; returns how many have it."""
        end = time.time() + timeout
        p = lo
        while True:
            while p < hi and self.mm[2 * p]:
                p += 1
            if p >= hi:
                return hi - lo
            if time.time() > end or (ps and any(x.poll() is not None for x in ps)):
                return sum(1 for k in range(lo, hi) if self.mm[2 * k])
            time.sleep(poll)

    def ready(self, slot, ps, timeout=60):
        """Prove the worker is up: a task enqueued before it started (slot) gets executed."""
        if self.wait_slots(slot, slot + 1, timeout, poll=0.005, ps=ps) != 1:
            raise RuntimeError("worker never became ready: " + self.logs())
        return self.mm[2 * slot]

    def logs(self):
        t = ""
        for f in sorted(
            glob.glob(os.path.join(self.dir, "*.log")) + glob.glob(os.path.join(self.dir, "*.err"))
        ):
            with open(f, errors="replace") as h:
                t += f"--- {os.path.basename(f)}\n" + h.read()[-1500:]
        return t

    def close(self):
        for ps in self.workers:
            self.kill(ps)
        if self.svc:
            self.svc.stop()
        if self.mm is not None:
            self.mm.release()
        shutil.rmtree(self.dir, ignore_errors=True)
        shutil.rmtree(self.disk, ignore_errors=True)

    # ------------------------------------------------------------------------------------------ scenarios
    def s_enqueue(self, op="enqueue"):
        n = self.n(10000)
        self.start(n)
        before = self.svc.commandstats()
        c0 = self.svc.cpu()
        r = self.producer(op, n)
        after = self.svc.commandstats()
        return {
            "n": r["n"],
            "tasks_per_s": round(r["rate"], 1),
            "broker_cmds_per_task": round(sum(after.values()) / n - sum(before.values()) / n, 2),
            "redis_cpu_s_per_1000": round((self.svc.cpu() - c0) / n * 1000, 4),
        }

    def s_enqueue_bulk(self):
        return self.s_enqueue("enqueue_bulk")

    def s_drain(self, kind="noop", n=None):
        n = n or self.n(10000)
        self.start(n)
        # the preload is itself the enqueue measurement: one call per task, the system's ordinary API
        pre = self.producer("enqueue", n, kind=kind)
        cmd0, rc0 = sum(self.svc.commandstats().values()), self.svc.cpu()
        ps = self.worker()
        mm = self.mm
        # first execution seen -> CPU baseline
        end = time.time() + 60
        first = None
        while first is None and time.time() < end:
            for k in (0, n - 1, 1, 2, 3, n // 2):
                if mm[2 * k]:
                    first = k
                    break
            else:
                time.sleep(0.002)
        if first is None:
            first = next((k for k in range(n) if mm[2 * k]), None)
            if first is None:
                raise RuntimeError("nothing executed: " + self.logs())
        each0, t_first_seen = {q: tree_cpu([q]) for q in self.pids(ps)}, ns()
        done = self.wait_slots(0, n, LIMIT - 10)
        each1 = {q: tree_cpu([q]) for q in self.pids(ps)}
        cpu0, cpu1 = sum(each0.values()), sum(each1.values())
        ts = sorted(mm[2 * k] for k in range(n) if mm[2 * k])
        execs = sum(mm[2 * k + 1] for k in range(n))
        span = (ts[-1] - ts[0]) / 1e9
        # work done before the CPU baseline was taken
        late = sum(1 for t in ts if t >= t_first_seen)
        time.sleep(0.3)
        cmd1, rc1 = sum(self.svc.commandstats().values()), self.svc.cpu()
        pss, rss = mem_mb(self.pids(ps))
        return {
            "n": n,
            "done": done,
            "executions": execs,
            "seconds": round(span, 3),
            "tasks_per_s": round((len(ts) - 1) / span, 1) if span else None,
            "worker_cpu_s_per_1000": round((cpu1 - cpu0) / max(1, late) * 1000, 4),
            # of each process, oldest first (Umbel: supervisor, node, children)
            "cpu_s_per_1000_each": [
                round((v - each0.get(q, 0)) / max(1, late) * 1000, 4) for q, v in sorted(each1.items())
            ],
            "broker_cmds_per_task": round((cmd1 - cmd0) / n, 2),
            "redis_cpu_s_per_1000": round((rc1 - rc0) / n * 1000, 4),
            "pss_mb_after": pss,
            "enqueue_tasks_per_s": round(pre["rate"], 1),
        }

    def s_drain_results(self):
        return self.s_drain("noop_r", self.n(10000))

    def s_drain_io(self):
        return self.s_drain("io", self.n(2000))

    def s_roundtrip(self):
        n = self.n(500)
        self.start(n + 60)
        self.producer("fill", 1, kind="noop", start=n + 59)
        ps = self.worker()
        self.ready(n + 59, ps)
        time.sleep(1.0)
        # 20 untimed exchanges warm both sides; the producer process is the same
        r = self.producer("roundtrip", n + 20)
        lat = sorted(r["lat_ns"][20:])
        q = lambda p: round(lat[min(len(lat) - 1, int(p * len(lat)))] / 1e6, 3)
        return {
            "n": n,
            "p50_ms": q(0.5),
            "p95_ms": q(0.95),
            "p99_ms": q(0.99),
            "max_ms": q(1),
            "per_s": round(len(lat) / (sum(lat) / 1e9), 1),
        }

    def s_pickup(self):
        n = self.n(200)
        self.start(n + 60)
        self.producer("fill", 1, start=n + 59)
        ps = self.worker()
        self.ready(n + 59, ps)
        time.sleep(1.0)
        r = self.producer("pickup", n + 5)
        self.wait_slots(0, n + 5, 20)
        lat = sorted(self.mm[2 * i] - s for i, s in enumerate(r["sent_ns"]) if i >= 5 and self.mm[2 * i])
        if not lat:
            raise RuntimeError("no pick-ups: " + self.logs())
        q = lambda p: round(lat[min(len(lat) - 1, int(p * len(lat)))] / 1e6, 3)
        return {
            "n": n,
            "seen": len(lat),
            "p50_ms": q(0.5),
            "p95_ms": q(0.95),
            "p99_ms": q(0.99),
            "max_ms": q(1),
        }

    def s_eta(self):
        n = self.n(50000)
        self.start(n + 100)
        self.producer("fill", 1, start=n)
        base = None
        r = self.producer("fill_eta", n, delay=3600)
        t0 = ns()
        ps = self.worker()
        t_ready = (self.ready(n, ps, 60) - t0) / 1e9
        settle = time.time() + 8
        while time.time() < settle:
            time.sleep(0.25)
        pss, rss = mem_mb(self.pids(ps))
        c0, w0 = tree_cpu(self.pids(ps)), time.time()
        d = self.producer("fill_eta", 1, start=n + 1, delay=5)
        ok = self.wait_slots(n + 1, n + 2, 60, poll=0.02)
        late = (self.mm[2 * (n + 1)] - d["t_last"]) / 1e9 - 5 if ok else None
        cpu = (tree_cpu(self.pids(ps)) - c0) / (time.time() - w0)
        pss2, rss2 = mem_mb(self.pids(ps))
        return {
            "n": n,
            "enqueue_eta_per_s": round(n / r["seconds"], 1),
            "ready_s": round(t_ready, 3),
            "pss_mb": max(pss, pss2),
            "late_s": round(late, 3) if late is not None else None,
            "cpu_cores_while_waiting": round(cpu, 3),
        }

    def s_canvas(self):
        n_chain, n_chord, n_large = 200, 1000, 10_000
        self.start(n_large)
        self.producer("fill", 1, start=n_large - 1)
        ps = self.worker()
        self.ready(n_large - 1, ps)
        time.sleep(1.0)
        out = {}
        for op, k, name in (
            ("chain", n_chain, "chain_s"),
            ("chord", n_chord, "chord_s"),
            ("chord", n_large, "large_chord_s"),
        ):
            if self.meta.get(op):
                r = self.producer(op, k, timeout=60)
                out[name] = round(r["seconds"], 3)
        return out

    def s_startup(self):
        self.start(10)
        env = dict(self.env)
        env.pop("PYTHONDONTWRITEBYTECODE")
        env["PYTHONPYCACHEPREFIX"] = os.path.join(self.dir, "pyc")

        def t(code):
            v = []
            for _ in range(6):
                t0 = ns()
                subprocess.run(
                    [self.py, "-c", code], env=env, cwd=HERE, check=True, stdout=subprocess.DEVNULL
                )
                v.append((ns() - t0) / 1e6)
            return statistics.median(v[1:])

        bare = t("pass")
        imp = t("import adapters." + self.a.system)
        self.producer("fill", 1, start=0)
        t0 = ns()
        ps = self.worker()
        s = (self.ready(0, ps) - t0) / 1e9
        return {
            "import_ms": round(imp - bare, 1),
            "bare_python_ms": round(bare, 1),
            "start_to_first_task_s": round(s, 3),
        }

    def s_idle(self):
        self.start(10)
        self.producer("fill", 2, start=0)
        t0 = ns()
        ps = self.worker()
        s = (self.ready(0, ps) - t0) / 1e9
        time.sleep(4)
        pids = self.pids(ps)
        pss, rss = mem_mb(pids)
        c0, k0, w0 = tree_cpu(pids), self.svc.commandstats(), time.time()
        watched = self.a.n or 20
        requests = self.svc.requests(watched) if isinstance(self.svc, Redis) else time.sleep(watched)
        c1, k1, w1 = tree_cpu(self.pids(ps)), self.svc.commandstats(), time.time()
        diff = {k: v - k0.get(k, 0) for k, v in k1.items() if v != k0.get(k, 0)}
        return {
            "start_to_first_task_s": round(s, 3),
            "processes": len(pids),
            "pss_mb": pss,
            "rss_sum_mb": rss,
            "idle_cpu_s_per_20s": round((c1 - c0) / (w1 - w0) * 20, 3),
            "requests_per_s": None if requests is None else round(requests / watched, 2),
            "broker_cmds_per_s": round(sum(diff.values()) / (w1 - w0), 2),
            "cmds": diff,
        }

    def s_crash_slow(self):
        """Tasks of 200 ms instead of 1 ms, so that some are certainly running when the worker dies."""
        return self.s_crash(self.a.n or 200, {"BENCH_MS": "0.2"})

    def s_crash(self, n=0, env=None):
        n = n or self.n(5000)
        self.start(n)
        self.env.update(env or {})
        self.producer("fill", n, kind="ms")
        ps = self.worker()

        def read():
            with open(os.path.join(self.dir, "log.bin"), "rb") as f:
                b = f.read()
            return [r for r in struct.iter_unpack("<qqii", b[: len(b) // 24 * 24])]

        end = time.time() + 100
        log = os.path.join(self.dir, "log.bin")
        while os.path.getsize(log) // 48 < n // 2 and time.time() < end:
            time.sleep(0.002)
        time.sleep(float(self.env.get("BENCH_MS", "0")) / 4)  # crash_slow: the next tasks are under way
        self.kill(ps)
        t_kill = ns()
        pre = read()
        started = {r[0] for r in pre if r[3] == 0}
        finished = {r[0] for r in pre if r[3] == 1}
        ps = self.worker()
        wait = float(os.environ.get("BENCH_CRASH_WAIT", "120"))
        end = time.time() + wait
        while time.time() < end:
            time.sleep(0.25)
            if os.path.getsize(log) // 48 >= n and len({r[0] for r in read() if r[3] == 1}) >= n:
                time.sleep(3)  # duplicates would come now
                break
        rec = read()
        done, st = {}, {}
        for i, t, pid, ph in rec:
            (done if ph else st).setdefault(i, []).append(t)
        inflight = started - finished
        # when the ordinary backlog was finished, and when the last task that was in the dead worker's hands came back
        firsts = sorted(min(v) for v in done.values())
        post = [t for t in firsts if t > t_kill]
        gap_at = None
        for x, y in zip(post, post[1:]):
            if y - x > 2e9:
                gap_at = round((x - t_kill) / 1e9, 2)
                break
        return {
            "n": n,
            "executed_before_kill": len(finished),
            "in_flight_at_kill": len(inflight),
            "executed_at_least_once": len(done),
            "never_completed": n - len(done),
            "never_even_started": n - len(set(done) | set(st)),
            "completed_twice_or_more": sum(1 for v in done.values() if len(v) > 1),
            "started_twice_or_more": sum(1 for v in st.values() if len(v) > 1),
            "backlog_done_s_after_kill": gap_at
            if gap_at is not None
            else (round((post[-1] - t_kill) / 1e9, 2) if post else None),
            "last_recovered_s_after_kill": round((post[-1] - t_kill) / 1e9, 2) if post else None,
            "waited_s": round((ns() - t_kill) / 1e9, 1),
        }


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--system", required=True)
    ap.add_argument("--scenario", required=True, help="NAME, or NAME=VALUE where it takes one")
    ap.add_argument("--profile")
    ap.add_argument("--n", type=int, default=0)
    ap.add_argument("--keep-logs", action="store_true", help="print the worker's output to stderr afterwards")
    a = ap.parse_args()
    a.full, (a.scenario, _, a.value) = a.scenario, a.scenario.partition("=")
    lock = os.environ.get("BENCH_LOCK", os.path.join(TMP, "bench.lock"))
    lf = None
    if lock != "none":
        lf = open(lock, "a")
        fcntl.flock(lf, fcntl.LOCK_EX)
    b = Bench(a)
    row = {"system": a.system, "scenario": a.full, "profile": b.profile}
    rc = 0
    signal.signal(signal.SIGTERM, lambda *x: sys.exit(1))
    try:
        t0, busy0 = time.time(), busy_cpu()
        more = scenarios.SCENARIOS.get(a.scenario)
        row.update(more(b) if more else getattr(b, "s_" + a.scenario)())
        row["wall_s"] = round(time.time() - t0, 1)
        # cores kept busy by processes that are not ours: how far the run was disturbed
        row["foreign_cores"] = round(
            max(0.0, busy_cpu() - busy0 - tree_cpu(tree(os.getpid()))) / (time.time() - t0), 2
        )
    except BaseException as e:
        row["error"] = f"{type(e).__name__}: {e}"[-2500:]
        rc = 1
    finally:
        logs = b.logs() if a.keep_logs or rc else ""
        b.close()
        with contextlib.suppress(OSError):
            sys.stderr.write(logs)
    print(json.dumps(row), flush=True)
    return rc


if __name__ == "__main__":
    sys.exit(main())
