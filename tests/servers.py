"""Real servers for tests: each private, on a free port, in a directory of its own, and gone when the tests are."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

_PATIENCE = 20.0


def heed_signals() -> None:
    """Let the programs that tests start heed Ctrl-C and a closed terminal.

    What runs in the background of a script, or under nohup, ignores these signals, and so do its children. A handler that does
    nothing is as good for this process, and is not inherited.
    """
    for signum in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(signum) is signal.SIG_IGN:
            signal.signal(signum, lambda *_: None)


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@dataclass
class RedisServer:
    """One redis-server process.

    Example::

        with RedisServer(tmp_path, password="secret") as server:
            broker = open_broker(server.url(db=1))
    """

    directory: pathlib.Path
    password: str | None = None
    tls: bool = False
    aof: bool = False
    port: int = 0
    config: tuple[str, ...] = ()
    """More arguments, as on redis-server's command line: ``("--maxmemory", "4mb")``."""
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def socket_path(self) -> pathlib.Path:
        return self.directory / "redis.sock"

    @property
    def ca_file(self) -> pathlib.Path:
        """The certificate that a client must trust (with ``tls``)."""
        return self.directory / "ca.crt"

    def url(self, db: int = 0, *, query: str = "") -> str:
        """The server's URL; with ``tls``, one that checks the certificate."""
        login = f":{self.password}@" if self.password else ""
        if self.tls:
            query = f"ssl_cert_reqs=required&ssl_ca_certs={self.ca_file}" + (f"&{query}" if query else "")
        tail = f"?{query}" if query else ""
        return f"redis{'s' if self.tls else ''}://{login}localhost:{self.port}/{db}{tail}"

    def socket_url(self, db: int = 0) -> str:
        """Celery's URL for the Unix socket."""
        login = f":{self.password}@" if self.password else ""
        return f"redis+socket://{login}{self.socket_path}?virtual_host={db}"

    def start(self) -> RedisServer:
        """Start it and wait until it answers. Starting again after ``stop`` keeps port and directory."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.tls:
            make_certificates(self.directory)
        for _ in range(5):  # another process may take the port between looking for it and listening on it
            port = self.port or free_port()
            self.process = _spawn(["redis-server", *self._arguments(port)], self.directory / "redis.log")
            if _answers(self.socket_path, self.process, self.password):
                self.port = port
                return self
            self.stop()
        raise RuntimeError(f"redis-server does not start:\n{(self.directory / 'redis.log').read_text()}")

    def command(self, *parts: str | bytes) -> object:
        """The answer to one command, from a client of nobody's: for looking from outside."""
        return command(self.socket_path, *parts, password=self.password)

    def info(self, name: str) -> str:
        """One value of INFO."""
        text = cast(bytes, self.command("INFO")).decode()
        return next(line.partition(":")[2] for line in text.splitlines() if line.startswith(f"{name}:"))

    def replica(self, directory: pathlib.Path) -> RedisServer:
        """A server, not yet started, that copies this one."""
        where = ("--replicaof", "127.0.0.1", str(self.port))
        return RedisServer(directory, self.password, aof=self.aof, config=(*self.config, *where))

    def stop(self) -> None:
        """Kill it. What it had not written to its append-only file is lost, as in a crash."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    def __enter__(self) -> RedisServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _arguments(self, port: int) -> list[str]:
        plain, tls = (0, port) if self.tls else (port, 0)
        arguments = ["--port", str(plain), "--bind", "127.0.0.1", "::1", "--dir", str(self.directory)]
        arguments += ["--unixsocket", str(self.socket_path), "--save", "", "--databases", "16"]
        arguments += ["--appendonly", "yes" if self.aof else "no", "--appendfsync", "always"]
        if self.password:
            arguments += ["--requirepass", self.password]
        if self.tls:
            arguments += ["--tls-port", str(tls), "--tls-auth-clients", "no"]
            for option, name in (("cert", "server.crt"), ("key", "server.key"), ("ca-cert", "ca.crt")):
                arguments += [f"--tls-{option}-file", str(self.directory / name)]
        return [*arguments, *self.config]


@contextlib.contextmanager
def sentinel(
    directory: pathlib.Path, master: RedisServer, name: str = "mymaster", *, down_after: float = 30.0
) -> Iterator[int]:
    """A sentinel that watches `master`, and believes that it is down when it has not heard of it for so many seconds; yields
    its port."""
    directory.mkdir(parents=True, exist_ok=True)
    port, path = free_port(), directory / "sentinel.sock"
    config = directory / "sentinel.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\nunixsocket {path}\ndir {directory}\n"
        f"sentinel monitor {name} 127.0.0.1 {master.port} 1\n"
        f"sentinel down-after-milliseconds {name} {round(down_after * 1000)}\n"
        + (f"sentinel auth-pass {name} {master.password}\n" if master.password else "")
    )
    process = _spawn(["redis-server", str(config), "--sentinel"], directory / "sentinel.log")
    try:
        if not _answers(path, process, None):
            raise RuntimeError(f"the sentinel does not start:\n{(directory / 'sentinel.log').read_text()}")
        yield port
    finally:
        process.kill()
        process.wait()


@dataclass
class PostgresServer:
    """One PostgreSQL, with one database for each test process; the superuser is ``postgres``, without a password.

    It listens on a Unix socket in its directory, and on a TCP port of this machine if `tcp` is wanted.
    """

    directory: pathlib.Path
    tcp: bool = False
    durable: bool = False
    """Flush to disk, as a server that matters does."""
    port: int = 0
    config: tuple[str, ...] = ()
    """More settings: ``("max_connections=20",)``."""
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        """Where clients connect to; the directory of the socket counts as one."""
        return "127.0.0.1" if self.tcp else str(self.directory)

    def start(self) -> PostgresServer:
        """Start it and wait until it answers. Starting again after ``stop`` keeps port and data."""
        make_directory(self.directory, "postgres")
        data = self.directory / "data"
        if not data.exists():
            initdb = [_postgres("initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
            _run([*initdb, "--locale=C.UTF-8", "--no-sync"], "postgres")
        self.port = self.port or (free_port() if self.tcp else 5432)
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1" if self.tcp else "",
            "unix_socket_directories": self.directory,
            "fsync": "on" if self.durable else "off",
            "synchronous_commit": "on" if self.durable else "off",
            "full_page_writes": "on" if self.durable else "off",
            "max_connections": 200,
            "shared_buffers": "32MB",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        options += [f"--{setting}" for setting in self.config]
        self.process = _spawn(
            [_postgres("postgres"), "-D", str(data), *options],
            self.directory / "log",
            "postgres",
            signal.SIGQUIT,
        )
        ready = [_postgres("pg_isready"), "-q", "-h", str(self.directory), "-p", str(self.port)]
        wait_until(lambda: subprocess.run(ready).returncode == 0, self.process, self.directory / "log")
        return self

    def stop(self, signum: int = signal.SIGQUIT) -> None:
        """SIGQUIT: as in a crash. SIGINT: connections are closed, and all is tidied up."""
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(signum)
            process.wait()

    def __enter__(self) -> PostgresServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


@dataclass
class MariaServer:
    """One MariaDB on a Unix socket; the superuser is ``root``, without a password."""

    directory: pathlib.Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def socket_path(self) -> pathlib.Path:
        return self.directory / "mariadb.sock"

    def start(self) -> MariaServer:
        """Start it and wait until it answers."""
        make_directory(self.directory, "mysql")
        data, temporary = self.directory / "data", self.directory / "tmp"
        make_directory(temporary, "mysql")
        if not data.exists():
            # Not in /tmp, where temporary tables of servers that begin at the same time have the same names.
            prepare = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--skip-test-db"]
            prepare += [f"--tmpdir={temporary}"]
            _run([*prepare, "--auth-root-authentication-method=normal"], "mysql")
        options = {
            "datadir": data,
            "tmpdir": temporary,
            "socket": self.socket_path,
            "pid-file": self.directory / "pid",
            "innodb-flush-log-at-trx-commit": 0,
            "innodb-buffer-pool-size": "32M",
            "character-set-server": "utf8mb4",
        }
        arguments = ["mariadbd", "--no-defaults", "--skip-networking"]
        arguments += [f"--{name}={value}" for name, value in options.items()]
        self.process = _spawn(arguments, self.directory / "log", "mysql")
        ping = [
            "mariadb-admin",
            "--no-defaults",
            f"--socket={self.socket_path}",
            "-u",
            "root",
            "--silent",
            "ping",
        ]
        wait_until(
            lambda: subprocess.run(ping, capture_output=True).returncode == 0,
            self.process,
            self.directory / "log",
        )
        return self

    def stop(self) -> None:
        """Kill it."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    def __enter__(self) -> MariaServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


@dataclass
class Pooler:
    """A pgbouncer that gives each transaction another session of the PostgreSQL on `server_port`."""

    directory: pathlib.Path
    port: int
    server_port: int
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def __enter__(self) -> Pooler:
        make_directory(self.directory, "postgres")
        (self.directory / "users").write_text('"postgres" ""\n')
        (self.directory / "ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={self.server_port} user=postgres\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = any\npool_mode = transaction\ndefault_pool_size = 5\nmax_client_conn = 100\n"
            f"auth_file = {self.directory}/users\n"
        )
        program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:" + os.environ.get("PATH", ""))
        self.process = _spawn(
            [program or "pgbouncer", str(self.directory / "ini")], self.directory / "log", "postgres"
        )
        wait_until(self._answers, self.process, self.directory / "log")
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def _answers(self) -> bool:
        ready = [_postgres("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ready).returncode == 0


def _postgres(program: str) -> str:
    """The path of a program of the newest PostgreSQL that is installed."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    path = str(found[-1]) if found else shutil.which(program)
    if path is None:
        raise RuntimeError(f"{program} is not installed; as root: apt-get install postgresql")
    return path


def make_directory(directory: pathlib.Path, user: str) -> None:
    """Make it, for a server that must not run as root: then for `user`.

    Not below pytest's ``tmp_path``: every other run of pytest takes the right to pass through from that one's parents.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        shutil.chown(directory, user)
        for parent in directory.parents:
            if parent.stat().st_uid == 0 and parent.stat().st_mode & 0o001 == 0:
                parent.chmod(parent.stat().st_mode | 0o011)  # so that the server gets there


def _run(arguments: list[str], user: str) -> None:
    done = subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        cwd="/",
        **({"user": user, "group": user, "extra_groups": []} if os.geteuid() == 0 else {}),
    )
    if done.returncode:
        raise RuntimeError(f"{arguments[0]} fails:\n{done.stdout}{done.stderr}")


def wait_until(is_ready: Callable[[], bool], process: subprocess.Popen[bytes], log: pathlib.Path) -> None:
    """Nothing tells when a server begins to listen."""
    deadline = time.monotonic() + _PATIENCE
    while not is_ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} does not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.02)


def make_certificates(directory: pathlib.Path) -> None:
    """``ca.crt``, and ``server.crt``/``server.key`` for localhost signed by it."""
    if (directory / "server.crt").exists():
        return

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=test ca")
    openssl("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
    (directory / "ext.cnf").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    sign = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext.cnf")
    openssl("x509", "-req", "-in", "server.csr", "-out", "server.crt", *sign)


def command(path: pathlib.Path, *parts: str | bytes, password: str | None = None) -> object:
    """Send one command over a server's Unix socket with a client of nobody's: for looking from outside."""
    import hiredis

    reader = hiredis.Reader()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(_PATIENCE)
        sock.connect(str(path))
        commands = ([("AUTH", password)] if password else []) + [parts]
        sock.sendall(b"".join(hiredis.pack_command(each) for each in commands))
        answer: object = None
        for _ in commands:
            while (answer := reader.gets()) is False:
                data = sock.recv(1 << 16)
                if not data:
                    raise ConnectionError("the server closed the connection")
                reader.feed(data)
    if isinstance(answer, Exception):
        raise answer
    return answer


def _spawn(
    arguments: list[str], log: pathlib.Path, user: str | None = None, on_death: int = signal.SIGKILL
) -> subprocess.Popen[bytes]:
    """Start a server that ends with this process; as `user`, when this is root."""
    if shutil.which(arguments[0]) is None:
        raise RuntimeError(f"{arguments[0]} is not installed; as root: scripts/need-servers")
    as_user = {"user": user, "group": user, "extra_groups": []} if user and os.geteuid() == 0 else {}
    with log.open("ab") as output:
        return subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/" if user else None,
            preexec_fn=lambda: _die_with_parent(on_death),
            **as_user,
        )


def _die_with_parent(signum: int = signal.SIGKILL) -> None:
    """A test run that is killed must not leave servers behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signum)
        if os.getppid() == 1:
            os._exit(1)


def _answers(path: pathlib.Path, process: subprocess.Popen[bytes], password: str | None) -> bool:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return False
        with contextlib.suppress(OSError):
            try:
                command(path, "PING", password=password)
            except OSError:
                raise
            except Exception as exc:
                if not str(exc).startswith("LOADING"):
                    raise
            else:
                return True
        time.sleep(0.01)  # nothing tells when a server begins to listen
    return False
