"""Coroutines as tasks. In two terminals, both in this folder:

    umbel -A tasks worker -P asyncio -c 50
    python main.py

Waiting costs nothing: one process has fifty requests under way. With `-P prefork -c 2` the same tasks run two at a time.
"""

import asyncio

from umbel import Umbel

app = Umbel("fetch")


@app.task(autoretry_for=(OSError,), retry_backoff=True, max_retries=3)
async def fetch(host: str, port: int, path: str) -> int:
    """The length of what a server answers."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
    await writer.drain()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return len(answer.partition(b"\r\n\r\n")[2])
