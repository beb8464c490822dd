"""Everything that can be set, read once at start from OROGRAPH_* variables and passed on."""

from __future__ import annotations

from pydantic import Field

from workers.settings import CommonSettings, Names


class Settings(CommonSettings):
    """What the server, or the whole stack, must know besides what workers know too."""

    database_url: str | None = Field(
        default=None, description="PostgreSQL with PostGIS; else `orograph up` starts its own."
    )
    broker_url: str | None = Field(
        default=None, description="Redis or RabbitMQ; else `orograph up` starts its own Redis."
    )
    api_key: str | None = Field(
        default=None, description="When set, whoever changes anything must send it."
    )
    sync_wait_s: float = Field(
        default=600.0, gt=0, description="How long a synchronous request may last."
    )
    max_body_bytes: int = Field(
        default=16 * 2**20, gt=0, description="Largest request that is read."
    )
    max_waiting_jobs: int = Field(
        default=1000, ge=1, description="Jobs that may wait; further ones are refused for a while."
    )
    max_uploads_bytes: int = Field(
        default=100 * 2**30, gt=0, description="What all uploads together may take."
    )
    trusted_proxies: Names = Field(
        default=("127.0.0.1", "::1"),
        description="Addresses whose X-Forwarded-* headers are believed; * for all.",
    )
    cors_origins: Names = Field(
        default=(), description="Web pages elsewhere that may change things; all may read."
    )
