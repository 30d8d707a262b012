"""An app for both engines with boot steps and options of its own."""

from __future__ import annotations

import os
from typing import Any

import click
from celery import Celery, bootsteps
from kombu import Consumer, Exchange, Queue

app = Celery("steps_jobs", broker=os.environ["STEPS_REDIS"], backend=os.environ["STEPS_REDIS"])
app.conf.update(task_default_queue="steps", task_acks_late=True)
own = Queue("steps-own", Exchange("steps-own"), routing_key="steps-own")


def note(line: str) -> None:
    with open(os.environ["STEPS_FILE"], "a") as file:
        file.write(line + "\n")


class First(bootsteps.StartStopStep):
    requires = ("celery.worker.components:Timer",)

    def __init__(self, worker: Any, word: str = "none", **options: Any) -> None:
        super().__init__(worker, **options)
        self.word = word

    def start(self, worker: Any) -> None:
        note(f"first starts {self.word} {worker.hostname} {worker.app.main}")
        self.entry = worker.timer.call_repeatedly(0.05, note, ("beats",))

    def stop(self, worker: Any) -> None:
        self.entry.cancel()
        note("first stops")


class Second(bootsteps.StartStopStep):
    requires = (First,)

    def create(self, worker: Any) -> Thing:
        return Thing()


class Thing:
    def start(self) -> None:
        note("thing starts")

    def stop(self) -> None:
        note("thing stops")


class Unwanted(bootsteps.StartStopStep):
    def include_if(self, worker: Any) -> bool:
        return False

    def start(self, worker: Any) -> None:
        note("unwanted starts")


class Messages(bootsteps.ConsumerStep):
    def get_consumers(self, channel: Any) -> list[Consumer]:
        return [Consumer(channel, queues=[own], callbacks=[self.heard], accept=["json"])]

    def heard(self, body: Any, message: Any) -> None:
        note(f"heard {body}")
        message.ack()


app.user_options["worker"].add(click.Option(["--word"], default="unset", help="A word."))
app.steps["worker"].update({First, Second, Unwanted})
app.steps["consumer"].add(Messages)


@app.task
def add(x: int, y: int) -> int:
    return x + y
