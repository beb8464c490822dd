"""What server and workers share of Celery: the application, and how a job is sent.

A message carries a job's id and nothing else; see `workers.jobs` for what it means.
"""

from __future__ import annotations

import logging

from celery import Celery
from kombu.exceptions import OperationalError as BrokerDown

TASK = "orograph.run_job"

log = logging.getLogger("orograph.worker")


def celery_app(broker_url: str) -> Celery:
    """Return a Celery application that sends jobs, or, given the task, runs them."""
    app = Celery("orograph", broker=broker_url, set_as_current=False)
    app.conf.update(
        # The row says what became of a job; Celery's own results would say it twice.
        task_ignore_result=True,
        # Late: then an idle worker is never kept waiting behind a message that a busy one holds.
        # A message that comes again meanwhile finds its row claimed.
        task_acks_late=True,
        task_reject_on_worker_lost=False,
        worker_prefetch_multiplier=1,
        worker_max_tasks_per_child=100,
        worker_proc_alive_timeout=60,  # imports take long on a busy machine
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # RabbitMQ closes a channel on which a message waits half an hour to be acknowledged
        broker_channel_error_retry=True,
        broker_connection_timeout=3,
        broker_transport_options=_transport_options(broker_url),
    )
    return app


def enqueue(app: Celery, job_id: str, queue: str = "cpu") -> bool:
    """Send a job's message, after its row is committed; False where the broker is down.

    That is no fault of the job: it is accepted, and a guardian sends it again as soon as it can.
    """
    why: BrokerDown | None = None
    for _ in range(2):  # a connection that was kept may be to a broker that was restarted since
        try:
            app.send_task(TASK, args=[job_id], queue=queue, retry=False)
        except BrokerDown as error:
            why = error
        else:
            return True
    log.warning("job %s waits for the broker: %s", job_id, why)
    return False


def _transport_options(broker_url: str) -> dict[str, object]:
    # whoever sends a job does not wait long for a broker that is away: the job is safe in its row
    options: dict[str, object] = {"max_retries": 1, "interval_start": 0.2, "interval_max": 0.2}
    if broker_url.startswith("redis"):
        # long: rows are sent again by us, so Redis need not
        options |= {"visibility_timeout": 24 * 3600, "socket_connect_timeout": 3}
        options |= {"socket_timeout": 30}
    return options
