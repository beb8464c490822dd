"""The side of a worker that computes: a Celery pool, below the guardian that watches over it."""

from __future__ import annotations

import warnings

from celery.platforms import SecurityWarning
from celery.signals import worker_process_init

from workers.app import TASK, celery_app
from workers.family import die_with_parent
from workers.offline import go_offline
from workers.settings import WorkerSettings


def compute(settings: WorkerSettings, name: str) -> int:
    """Take messages and run their jobs, one a child, until told to stop; *name* is the worker's."""
    die_with_parent()
    go_offline()
    app = celery_app(settings.broker_url)

    @app.task(name=TASK)  # type: ignore[untyped-decorator]  # Celery has no types
    def orograph_run_job(job_id: str) -> None:
        from workers.tasks import run_job

        run_job(job_id, settings, name)

    @worker_process_init.connect(weak=False)  # type: ignore[untyped-decorator]
    def a_child_starts(**_: object) -> None:
        die_with_parent()
        # Here and not in the parent: these libraries have threads, and who forks has none.
        import workers.tasks  # noqa: F401 – so that the first job does not wait for it

    # a message is a job's id in JSON: who may send one gains nothing from our account
    warnings.filterwarnings("ignore", category=SecurityWarning)
    app.worker_main(
        [
            "--quiet",
            "worker",
            "--pool=prefork",
            f"--concurrency={settings.at_once}",
            f"--queues={','.join(settings.queues)}",
            f"--hostname={name}",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            "--loglevel=WARNING",
        ]
    )
    return 0
