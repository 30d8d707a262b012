"""The tasks that are still Celery's; see main.py."""

import os

from celery import Celery

URL = os.environ.get("REDIS_URL", "redis://localhost:6379/0")

app = Celery("celery_side", broker=URL, backend=URL)


@app.task(name="shop.total")
def total(prices: list[float]) -> float:
    return sum(prices)
