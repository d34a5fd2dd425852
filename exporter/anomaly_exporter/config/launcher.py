"""Who starts trainings."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .base import Section

ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?$")]


class Launcher(Section):
    """Exactly one scheduler is active: this process (`local`), the CronJob (`kubernetes`) or yours (`none`)."""

    kind: Literal["local", "kubernetes", "none"] = "local"
    """`local`: child processes of `serve`, every `training.every`. `kubernetes`: Jobs of a CronJob, which `serve` only
    follows. `none`: somebody else runs `anomaly-exporter train`."""
    cron_job: ObjectName | None = None
    """CronJob whose template is the Indexed Job that trains; needed for `kubernetes`."""
    namespace: ObjectName | None = None
    """Its namespace; the pod's own when left out."""
    container: ObjectName = "train"
    """Container of the template that runs `anomaly-exporter train`."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.kind == "kubernetes") != (self.cron_job is not None):
            raise ValueError(
                "cron_job belongs to kind kubernetes and is needed there: the CronJob whose Jobs train,"
                f" received kind {self.kind} and cron_job {self.cron_job}"
            )
        return self
