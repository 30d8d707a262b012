from celery.schedules import crontab
from kombu import Exchange, Queue

CELERY_TASK_QUEUES = [
    Queue("celery", Exchange("celery"), routing_key="celery"),
    Queue("slow", Exchange("slow"), routing_key="slow"),
]
CELERY_TASK_ROUTES = {"proj.tasks.render": {"queue": "slow"}}
CELERY_TASK_TRACK_STARTED = True
CELERY_RESULT_EXTENDED = True
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_BEAT_SCHEDULE = {
    "every-morning": {"task": "proj.tasks.add", "schedule": crontab(hour=8, minute=0), "args": (1, 2)}
}
PROJ_OWN_SETTING = "kept"
