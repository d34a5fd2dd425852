"""What Alertmanager posts to a webhook receiver, version 4, checked before anything is believed."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

Labels = dict[str, str]
Status = Literal["firing", "resolved"]
SHOWN = 3
"""Problems that an answer names at most."""


class WebhookError(Exception):
    """The body is not a notification of Alertmanager; the message says where and what was expected."""


class _Part(BaseModel):
    """Types are exact. Fields that are not known are let through: Alertmanager adds some without a new version."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class Alert(_Part):
    """One alert of a notification; ``starts_at`` is wall time."""

    status: Status
    labels: Labels
    annotations: Labels
    starts_at: AwareDatetime = Field(alias="startsAt")
    ends_at: AwareDatetime = Field(alias="endsAt")
    generator_url: str = Field(alias="generatorURL")
    fingerprint: str


class Notification(_Part):
    """One call of the webhook: the alerts of a group."""

    version: Literal["4"]
    group_key: str = Field(alias="groupKey", min_length=1)
    truncated_alerts: int = Field(0, alias="truncatedAlerts", ge=0)
    status: Status
    receiver: str
    group_labels: Labels = Field(alias="groupLabels")
    common_labels: Labels = Field(alias="commonLabels")
    common_annotations: Labels = Field(alias="commonAnnotations")
    external_url: str = Field(alias="externalURL")
    alerts: list[Alert]


def read(body: bytes) -> Notification:
    """The notification in ``body``.

    Raises:
        WebhookError: it is none.
    """
    try:
        return Notification.model_validate_json(body)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        lines = [f"{'.'.join(map(str, p['loc'])) or 'body'}: {p['msg']}" for p in problems[:SHOWN]]
        raise WebhookError("expected Alertmanager's webhook JSON, version 4\n" + "\n".join(lines)) from error
