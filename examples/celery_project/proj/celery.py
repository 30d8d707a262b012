import os

from celery import Celery

app = Celery("proj", include=["proj.tasks"])
app.config_from_object("proj.settings", namespace="CELERY")
app.conf.update(broker_url=os.environ["PROJ_REDIS"], result_backend=os.environ["PROJ_REDIS"])
