"""Where everything durable lives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from .base import Section
from .routes import Url


class S3Store(Section):
    """A bucket of AWS or of any server that supports conditional PUT. Keys come from the environment variables
    AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, from a web identity, or from the machine."""

    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    """Name of the bucket; it must exist."""
    prefix: Annotated[str, Field(pattern=r"^([A-Za-z0-9_][A-Za-z0-9._=+-]*(/[A-Za-z0-9_][A-Za-z0-9._=+-]*)*)?$")] = ""
    """Folder in the bucket, for several exporters in one."""
    endpoint: Url | None = None
    """URL of the server; AWS when left out."""
    region: str | None = None
    """Region of the bucket; AWS_REGION of the environment when left out."""
    path_style: bool = True
    """The bucket is part of the path, not of the host name."""


class Store(Section):
    path: Path = Path("data")
    """Directory of history, models and generations; one writer per target at a time is enough, more are safe. With
    `s3` only copies of what was read live here."""
    s3: S3Store | None = None
    """Keep everything in a bucket instead."""
    seed: Path | None = None
    """File of shared models, made elsewhere by `anomaly-exporter seed`: a target without a shared model starts with the
    one that is in there. Only models for the very same queries, labels and step are taken."""
    keep_generations: int = Field(3, ge=2)
    """Generations kept for rollback, the one in force included."""
