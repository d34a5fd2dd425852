"""Start, follow and stop trainings, through the launcher of the schedule."""

from __future__ import annotations

from http import HTTPStatus

from anomaly_exporter.config import ConfigError, Overrides, overridden
from anomaly_exporter.launch import LauncherError, LauncherUnavailableError
from anomaly_exporter.snapshot import TrainingStatus

from . import documents
from .desk import Desk
from .problems import Problem, unprocessable
from .reading import document, lines_of, written_time


def listed(desk: Desk) -> documents.Trainings:
    """The newest training of every target."""
    statuses = desk.launcher.status()
    return documents.Trainings(
        trainings=[_training(t.name, t.models, statuses.get(t.name, TrainingStatus())) for t in desk.targets()]
    )


def start(desk: Desk, wanted: documents.StartTrainings) -> documents.Trainings:
    """Ask for a training of every target, or of none where one of them is not possible. Raises Problem."""
    names = list(dict.fromkeys(wanted.targets))
    if unknown := [name for name in names if desk.target(name) is None]:
        raise _unknown(desk, unknown)
    overrides = document(
        Overrides, {"model": wanted.model, "parameters": wanted.parameters, "training": wanted.training}
    )
    errors: list[str] = []
    for name in names:
        try:
            overridden(desk.config(), name, overrides)
        except ConfigError as error:
            errors += [line for line in lines_of(error) if line not in errors]
    if errors:
        raise unprocessable(errors)
    statuses = desk.launcher.status()
    if busy := [name for name in names if _busy(statuses.get(name))]:
        raise Problem(
            HTTPStatus.CONFLICT, f"{', '.join(busy)}: a training runs or is asked for already; stop it, or wait for it"
        )
    for name in names:
        try:
            new = desk.launcher.train(name, None if overrides.nothing else overrides)
        except LauncherError as error:
            raise _failed(error) from error
        if not new:
            raise Problem(HTTPStatus.CONFLICT, f"{name}: somebody else asked for a training at this moment")
    return _of(desk, names)


def about(wanted: documents.StartTrainings, valid: bool) -> str:
    """What was asked for, in a line; parameters only when they are known to be ``valid``."""
    names = ",".join(dict.fromkeys(wanted.targets))
    if not valid:
        return names
    overrides = Overrides(model=wanted.model, parameters=wanted.parameters, training=wanted.training)
    return names if overrides.nothing else f"{names} {overrides.text()}"


def stop(desk: Desk, target: str | None) -> documents.Trainings:
    """End the training of ``target``, or all of them for None; what is in force stays. Raises Problem."""
    if target is not None and desk.target(target) is None:
        raise Problem(HTTPStatus.NOT_FOUND, f"there is no target {target[:80]!r}")
    try:
        found = desk.launcher.cancel(target)
    except LauncherError as error:
        raise _failed(error) from error
    if found:
        return listed(desk) if target is None else _of(desk, [target])
    status = desk.launcher.status().get(target or "", TrainingStatus())
    if status.state == "running":
        raise Problem(HTTPStatus.CONFLICT, f"{target} is trained together with all others: stop all of them, or wait")
    raise Problem(HTTPStatus.CONFLICT, "no training runs or is asked for")


def _of(desk: Desk, names: list[str]) -> documents.Trainings:
    return documents.Trainings(trainings=[t for t in listed(desk).trainings if t.target in names])


def _busy(status: TrainingStatus | None) -> bool:
    return status is not None and (status.state == "running" or status.requested)


def _unknown(desk: Desk, names: list[str]) -> Problem:
    known = ", ".join(t.name for t in desk.targets())
    return unprocessable([f"targets: {name!r} is not configured, known are {known}" for name in names])


def _failed(error: LauncherError) -> Problem:
    unavailable = isinstance(error, LauncherUnavailableError)
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE if unavailable else HTTPStatus.CONFLICT, str(error))


def _training(target: str, models: tuple[str, ...], status: TrainingStatus) -> documents.Training:
    def moment(wall: float | None) -> str | None:
        return None if wall is None else written_time(wall)

    return documents.Training(
        target=target,
        models=list(models),
        state=status.state,
        requested=status.requested,
        progress=round(status.progress, 4),
        started_at=moment(status.started_at),
        seconds=None if status.seconds is None else round(status.seconds, 3),
        next_at=moment(status.next_at),
        succeeded_at=moment(status.succeeded_at),
        message=status.message,
        epochs=dict(status.epochs),
    )
