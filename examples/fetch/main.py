"""A slow server on a port of its own, and fifty calls that ask it; see tasks.py."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tasks import app, fetch


class Slow(BaseHTTPRequestHandler):
    """Answers after half a second."""

    def do_GET(self) -> None:
        time.sleep(0.5)
        body = f"you asked for {self.path}".encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    request_queue_size = 100


def main() -> None:
    with Server(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host, port = server.server_address[:2]
        began = time.monotonic()
        calls = [(host, port, f"/{number}") for number in range(50)]
        sizes = app.results(fetch.starmap_async(calls)).get(timeout=60)
        print(f"{len(sizes)} answers, {sum(sizes)} bytes, in {time.monotonic() - began:.1f} s")
        server.shutdown()


if __name__ == "__main__":
    main()
