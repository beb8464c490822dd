"""Everything that can be set, read once at start from OROGRAPH_* variables and passed on."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from workers.app import Names


class Settings(BaseSettings):
    """Where the server lives, what it may reach and how much it takes."""

    model_config = SettingsConfigDict(
        env_prefix="OROGRAPH_", env_ignore_empty=True, frozen=True, extra="ignore"
    )

    data: Path = Field(default=Path("data"), description="Folder of everything that is kept.")
    host: str = Field(default="127.0.0.1", description="Address the server binds to.")
    port: int = Field(default=8000, ge=1, le=65535, description="Port the server binds to.")
    public_url: str | None = Field(
        default=None, description="Outside URL, prefix included; else http://host:port."
    )
    database_url: str | None = Field(
        default=None, description="PostgreSQL with PostGIS; else `orograph up` starts its own."
    )
    broker_url: str | None = Field(
        default=None, description="Redis or RabbitMQ; else `orograph up` starts its own Redis."
    )
    api_key: str | None = Field(
        default=None, description="When set, whoever changes anything must send it."
    )
    allowed_hosts: Names = Field(
        default=(), description="Hosts assets may come from even though their address is private."
    )
    max_asset_bytes: int = Field(
        default=20 * 2**30, gt=0, description="Largest file fetched for a job."
    )
    workers: int = Field(default=1, ge=1, description="Jobs that run at once on this machine.")
    sync_wait_s: float = Field(
        default=600.0, gt=0, description="How long a synchronous request may last."
    )
    max_body_bytes: int = Field(
        default=16 * 2**20, gt=0, description="Largest request that is read."
    )
    trusted_proxies: Names = Field(
        default=("127.0.0.1", "::1"),
        description="Addresses whose X-Forwarded-* headers are believed; * for all.",
    )
    cors_origins: Names = Field(
        default=(), description="Web pages elsewhere that may change things; all may read."
    )

    @property
    def url(self) -> str:
        """The outside URL without a trailing slash."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")
