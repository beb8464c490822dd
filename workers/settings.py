"""What server and workers both must know: OROGRAPH_* variables, read once at start."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from processes.core.process import Device
from workers.reader import names


def _from_text(value: Any) -> Any:
    return names(value) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_from_text)]
"""Names in one environment variable, separated by commas."""

Queue = Literal["cpu", "gpu"]
Queues = Annotated[tuple[Queue, ...], NoDecode, BeforeValidator(_from_text), Field(min_length=1)]


class CommonSettings(BaseSettings):
    """Where things are and how much is taken."""

    model_config = SettingsConfigDict(
        env_prefix="OROGRAPH_", env_ignore_empty=True, frozen=True, extra="ignore"
    )

    data: Path = Field(default=Path("data"), description="Folder of everything that is kept.")
    host: str = Field(default="127.0.0.1", description="Address the server binds to.")
    port: int = Field(default=8000, ge=1, le=65535, description="Port the server binds to.")
    public_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/?#\s]+(/[^?#\s]*)?$",
        description="Outside URL, prefix included; else http://host:port.",
    )
    allowed_hosts: Names = Field(
        default=(),
        description="Hosts that assets may come from, and callbacks go to, though their address "
        "is private.",
    )
    max_asset_bytes: int = Field(
        default=20 * 2**30, gt=0, description="Largest file fetched for a job."
    )
    keep_uploads_days: float = Field(
        default=30.0, gt=0, description="Days after which an upload that nobody asked for goes."
    )
    workers: int = Field(default=1, ge=1, description="Jobs that run at once on this machine.")
    device: Device = Field(
        default="auto",
        description="What computes: cpu, cuda (a fault where there is none), or auto, a GPU "
        "where there is one.",
    )
    dask: str | None = Field(
        default=None,
        pattern=r"^(tcp|tls|ws|wss|ucx)://",
        description="Scheduler of a Dask cluster that computes blocks, such as "
        "tcp://10.0.0.5:8786; its workers see the same folders by the same paths. By default "
        "threads of this machine do.",
    )

    @property
    def url(self) -> str:
        """The outside URL without a trailing slash."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")


class WorkerSettings(CommonSettings):
    """What a worker must know besides."""

    database_url: str = Field(description="The server's PostgreSQL.")
    broker_url: str = Field(description="The server's Redis or RabbitMQ.")
    queues: Queues = Field(
        default=("cpu",), description="Queues that are served: cpu, and gpu where there is one."
    )

    @property
    def at_once(self) -> int:
        """Jobs that this worker runs at once: one where it serves a GPU, whose memory is one's."""
        return 1 if "gpu" in self.queues else self.workers
