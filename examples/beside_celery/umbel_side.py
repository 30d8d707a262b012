"""The tasks that have moved to Umbel; see main.py."""

import os

from umbel import Umbel

URL = os.environ.get("REDIS_URL", "redis://localhost:6379/0")

app = Umbel("umbel_side", broker=URL, backend=URL, task_default_queue="umbel")


@app.task(name="shop.receipt")
def receipt(order: int, total: float) -> str:
    return f"order {order}: {total:.2f}, written by Umbel"
