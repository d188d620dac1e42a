"""The Celery application: its settings, and why each is not the default."""

import os

from celery import Celery

# Celery's own name for a Redis on a Unix socket.
BROKER = os.environ["REDIS_URL"].replace("redis+unix://", "redis+socket://")

app = Celery("bench", broker=BROKER, include=["tasks"])
app.conf.update(
    # Nobody asks for results.
    task_ignore_result=True,
    # A task is acknowledged when it is done, and comes back when its process was killed.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    # "If you have many short-running tasks ... this number should be large" (Optimizing).
    worker_prefetch_multiplier=64,
    # As many as there are threads at the door that publish.
    broker_pool_limit=40,
    broker_connection_retry_on_startup=True,
    # What a killed worker had in hand comes back after this. Default an hour; no task here takes a minute, and no retry
    # waits for as long.
    broker_transport_options={"visibility_timeout": 60},
    worker_hijack_root_logger=False,
)
