"""Its tasks."""

import os
import time

from celery import shared_task
from celery_once import QueueOnce


@shared_task
def add(x, y):
    return x + y


@shared_task
def fail():
    raise ValueError("as it should")


@shared_task(base=QueueOnce, once={"graceful": True})
def once(path):
    while not os.path.exists(path):
        time.sleep(0.02)
    return "once"


@shared_task(base=QueueOnce)
def strictly_once(path):
    return once(path)


@shared_task
def tick(word):
    return word
