#!/usr/bin/env python3
"""What delay() adds to a view of Django: python bench/django_view.py [--requests 1500] [--json FILE]

A site with two views that do the same, but for one call of a task, is served by gunicorn (sync and threaded workers) and
by uvicorn (ASGI). Clients ask for the two in turn, so that what disturbs the machine disturbs both; shown are the
medians and the 99th percentiles of both, and their differences. Standard library only; the servers run in the
environment "umbeldjango" (bench/setup_venvs.sh umbeldjango).
"""

import argparse
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time

VENVS = os.environ.get("BENCH_VENVS", os.path.join(tempfile.gettempdir(), "bench-venvs"))

FILES = {
    "site_settings.py": """
        SECRET_KEY = "bench"
        ALLOWED_HOSTS = ["*"]
        ROOT_URLCONF = "site_urls"
        INSTALLED_APPS = ["umbel.contrib.django"]
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
        MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
        import os
        UMBEL = {"broker_url": os.environ["BENCH_REDIS"]}
    """,
    "site_urls.py": """
        from django.http import HttpResponse
        from django.urls import path
        from site_tasks import send_mail

        def plain(request):
            return HttpResponse("ok")

        def calls(request):
            send_mail.delay("ada@example.com", template="welcome", order=1234)
            return HttpResponse("ok")

        async def aplain(request):
            return HttpResponse("ok")

        async def acalls(request):
            await send_mail.adelay("ada@example.com", template="welcome", order=1234)
            return HttpResponse("ok")

        urlpatterns = [path("plain", plain), path("calls", calls), path("aplain", aplain), path("acalls", acalls)]
    """,
    "site_tasks.py": """
        from umbel import shared_task

        @shared_task(ignore_result=True)
        def send_mail(to, template, order):
            pass
    """,
    "site_wsgi.py": """
        import os
        os.environ["DJANGO_SETTINGS_MODULE"] = "site_settings"
        from django.core.wsgi import get_wsgi_application
        application = get_wsgi_application()
    """,
    "site_asgi.py": """
        import os
        os.environ["DJANGO_SETTINGS_MODULE"] = "site_settings"
        from django.core.asgi import get_asgi_application
        application = get_asgi_application()
    """,
}

# name -> (command, paths of the two views, clients at a time)
SERVERS = {
    "gunicorn sync": ("-m gunicorn -w 1 -k sync -b 127.0.0.1:{port} site_wsgi", ("/plain", "/calls"), 1),
    "gunicorn threads": (
        "-m gunicorn -w 1 -k gthread --threads 8 -b 127.0.0.1:{port} site_wsgi",
        ("/plain", "/calls"),
        1,
    ),
    "uvicorn, async views": (
        "-m uvicorn --no-access-log --log-level warning --port {port} site_asgi:application",
        ("/aplain", "/acalls"),
        1,
    ),
    "uvicorn, sync views": (
        "-m uvicorn --no-access-log --log-level warning --port {port} site_asgi:application",
        ("/plain", "/calls"),
        1,
    ),
}


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@contextlib.contextmanager
def program(command, **options):
    process = subprocess.Popen(command, start_new_session=True, **options)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for_port(port, process):
    for _ in range(600):
        assert process.poll() is None, "the server did not start"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on {port}")


def ask(connection, path):
    begun = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200 and body == b"ok", (answer.status, body[:200])
    return (time.perf_counter() - begun) * 1000


def client(port, paths, requests, times):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for number in range(requests + 50):
        for path in paths if number % 2 else reversed(paths):
            took = ask(connection, path)
            if number >= 50:
                times[path].append(took)


def percentile(values, share):
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def measure(folder, redis_url, command, paths, clients, requests):
    port, python = free_port(), os.path.join(VENVS, "umbeldjango", "bin", "python")
    env = {**os.environ, "BENCH_REDIS": redis_url, "PYTHONPATH": folder}
    with program(
        [python, *command.format(port=port).split()], cwd=folder, env=env, stderr=subprocess.DEVNULL
    ) as server:
        wait_for_port(port, server)
        times = {path: [] for path in paths}
        threads = [
            threading.Thread(target=client, args=(port, paths, requests // clients, times))
            for _ in range(clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    plain, calls = (times[path] for path in paths)
    row = {"clients": clients, "requests": len(calls)}
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        row[f"plain {name}"], row[f"calls {name}"] = percentile(plain, share), percentile(calls, share)
        row[f"added {name}"] = row[f"calls {name}"] - row[f"plain {name}"]
    return row


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=1500, help="of each view, by each server")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", help="append the rows to this file")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, text in FILES.items():
            with open(os.path.join(folder, name), "w") as file:
                file.write(textwrap.dedent(text))
        port = free_port()
        redis = [shutil.which("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        with program(redis, cwd=folder, stdout=subprocess.DEVNULL) as server:
            wait_for_port(port, server)
            for repetition in range(options.repeat):
                for name, (command, paths, clients) in SERVERS.items():
                    row = measure(
                        folder, f"redis://127.0.0.1:{port}/0", command, paths, clients, options.requests
                    )
                    rows.append({"server": name, "repetition": repetition, **row})
                    print(name, {k: round(v, 3) for k, v in row.items()}, file=sys.stderr)
    if options.json:
        with open(options.json, "a") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    print(
        "| server | clients | plain p50 ms | added p50 ms | plain p99 ms | added p99 ms |\n|---|---|---|---|---|---|"
    )
    for name in SERVERS:
        mine = [row for row in rows if row["server"] == name]
        middle = {key: percentile([row[key] for row in mine], 0.5) for key in mine[0] if " p" in key}
        print(
            f"| {name} | {mine[0]['clients']} | {middle['plain p50']:.2f} | {middle['added p50']:.2f} | "
            f"{middle['plain p99']:.2f} | {middle['added p99']:.2f} |"
        )


if __name__ == "__main__":
    main()
