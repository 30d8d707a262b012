from pathlib import Path

from umbel import Umbel

app = Umbel("retries")


@app.task(autoretry_for=(FileNotFoundError,), retry_backoff=0.05, retry_jitter=False, max_retries=5)
def read(path: str) -> str:
    return Path(path).read_text()


@app.task(bind=True, max_retries=2)
def third_time(self) -> int:
    if self.request.retries < 2:
        raise self.retry(countdown=0.05)
    return self.request.retries
