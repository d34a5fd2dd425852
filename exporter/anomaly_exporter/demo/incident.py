"""An incident that no static limit would see: a raised level below what the series has shown before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anomaly_exporter.workload import F64, Cluster, Incident

QUANTILE = 0.99
SHARE = 0.95  # the raised level stays below this share of the quantile: noise cannot lift it above
WOBBLE = 0.11  # an incident's own noise: at most 3.5 deviations of 3 %


class NoRoomError(Exception):
    """The series cannot be raised above its expected band without exceeding its history."""


@dataclass(frozen=True)
class Raise:
    """An incident and the levels that prove it: ``lowest`` and ``highest`` value of the service while it lasts.

    ``maximum`` and ``quantile`` (99 %) are of its history, ``before`` the normal level of the same hours; all in cores.
    """

    incident: Incident
    before: float
    lowest: float
    highest: float
    quantile: float
    maximum: float


def below_history(history: F64, coming: F64, upper: float) -> float:
    """Cores to add to the service's ``coming`` values so that all of them leave the band and none exceeds its past.

    ``history`` and ``coming`` [T] are means over the pods, ``upper`` is the upper edge of the expected band.

    Raises:
        NoRoomError: there is no such level.
    """
    ceiling = SHARE * float(np.quantile(history, QUANTILE))
    add = (ceiling - float(coming.max())) / (1 + WOBBLE)
    lowest = float(coming.min()) + add * (1 - WOBBLE)
    if add <= 0 or lowest <= upper:
        raise NoRoomError(
            f"raised to {lowest:.3g} cores it would stay inside the expected band (up to {upper:.3g}) or above what it "
            f"has shown before ({ceiling:.3g}); inject at a time of day when the load is lower"
        )
    return add


def plan(
    cluster: Cluster, name: tuple[str, str], history: tuple[int, int], span: tuple[int, int], upper: float
) -> Raise:
    """The incident of the service ``name`` over ``span``, measured against ``history`` (both data time, step 60 s).

    Raises:
        NoRoomError: no level below the history leaves the band.
    """
    before = cluster.values(np.arange(*history, 60)).of(*name)[:, 0]
    coming = cluster.values(np.arange(*span, 60)).of(*name)[:, 0]
    # Samples that metrics-server lacks show as 0 before and during the incident: they are no load.
    observed = coming[coming > 0]
    add = below_history(before, observed, upper)
    incident = Incident(*name, *span, cpu=round(add, 4))
    raised = cluster.with_incidents([incident]).values(np.arange(*span, 60)).of(*name)[:, 0]
    raised = raised[raised > 0]
    return Raise(
        incident,
        float(np.median(observed)),
        float(raised.min()),
        float(raised.max()),
        float(np.quantile(before, QUANTILE)),
        float(before.max()),
    )
