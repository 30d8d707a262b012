from celery import Task, shared_task
from celery.exceptions import Ignore
from celery.utils.log import get_task_logger

from .celery import app

logger = get_task_logger(__name__)


class Counted(Task):
    """A base class with a hook, as projects have them."""

    def on_success(self, retval, task_id, args, kwargs):
        logger.info("%s has made %r", self.name, retval)


@app.task(base=Counted)
def add(x, y):
    return x + y


@shared_task(bind=True, max_retries=3, default_retry_delay=0)
def flaky(self, fail_times):
    if self.request.retries < fail_times:
        raise self.retry(exc=ValueError("not yet"), countdown=0)
    return self.request.retries


@shared_task(autoretry_for=(KeyError,), retry_backoff=False, max_retries=1, default_retry_delay=0)
def broken(key):
    return {}[key]


@shared_task
def render(name):
    return f"<{name}>"


@shared_task
def total(numbers):
    return sum(numbers)


@shared_task(bind=True)
def quiet(self):
    self.update_state(state="HALFWAY", meta={"done": 1})
    raise Ignore()
