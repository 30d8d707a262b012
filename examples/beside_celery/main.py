"""One Redis, two fleets: what Celery sends runs on Umbel, and the other way round.

Needs a Redis (REDIS_URL, redis://localhost:6379/0 unless set) and pip install 'umbel[redis]' celery. In three terminals:

    celery -A celery_side worker -Q celery
    umbel -A umbel_side worker
    python main.py

A task moves from one to the other when its queue does: nothing is converted, since the messages are the same.
"""

from celery_side import app as celery_app
from umbel_side import app as umbel_app


def main() -> None:
    # Umbel calls a task of the Celery fleet by its name ...
    total = umbel_app.send_task("shop.total", ([1.5, 2.5],), queue="celery").get(timeout=60)
    print("Celery summed up:", total)

    # ... and Celery calls one of the Umbel fleet.
    receipt = celery_app.send_task("shop.receipt", (7, total), queue="umbel").get(timeout=60)
    print(receipt)


if __name__ == "__main__":
    main()
