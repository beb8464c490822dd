"""A job as OGC's statusInfo, with the members of version 1.0 and of the 2.0 draft."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from server.errors import remembered
from workers.jobs import Job

RESULTS = "http://www.opengis.net/def/rel/ogc/1.0/results"
EXCEPTIONS = "http://www.opengis.net/def/rel/ogc/1.0/exceptions"
OPEN = ("accepted", "running")


def status_info(job: Job, url: str) -> dict[str, Any]:
    """Return a job's status. There is a results link only once there are results."""
    info = {
        "jobID": job.id,
        "id": job.id,
        "processID": job.process_id,
        "process": {"href": f"{url}/processes/{job.process_id}", "type": "application/json"},
        "type": "process",
        "processingEntityType": "process",
        "status": job.status,
        "message": job.message,
        "progress": job.progress,
        "created": timestamp(job.created),
        "started": timestamp(job.started),
        "updated": timestamp(job.updated),
        "finished": timestamp(job.finished),
        "exception": fault(job) if job.status == "failed" else None,
        "links": _links(job, url),
    }
    return {name: value for name, value in info.items() if value is not None}


def fault(job: Job) -> dict[str, Any]:
    """Return why a job failed as an OGC exception."""
    known = job.fault or {}
    return remembered(str(known.get("type")), str(known.get("detail") or job.message))


def timestamp(moment: datetime | None) -> str | None:
    """Return a time as RFC 3339 in UTC."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _links(job: Job, url: str) -> list[dict[str, str]]:
    here = f"{url}/jobs/{job.id}"
    links = [
        _link(here, "self", "This job"),
        _link(f"{here}?f=html", "alternate", "This job as a page", "text/html"),
        _link(f"{url}/jobs", "up", "All jobs"),
    ]
    if job.status in OPEN:
        links.append(_link(here, "monitor", "How far it is"))
    elif job.status == "successful":
        links.append(_link(f"{here}/results", RESULTS, "Results"))
        if job.key and job.collection:  # a report is a product that lies nowhere: no item
            item = f"{url}/stac/collections/{job.collection}/items/{job.key}"
            links.append(_link(item, "item", "In the catalogue", "application/geo+json"))
    elif job.status == "failed":
        links.append(_link(f"{here}/results", EXCEPTIONS, "Why it failed"))
    return links


def _link(href: str, rel: str, title: str, kind: str = "application/json") -> dict[str, str]:
    return {"href": href, "rel": rel, "type": kind, "title": title}
