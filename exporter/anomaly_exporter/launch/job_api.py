"""The few calls of Kubernetes' API that trainings need, through the official client, as plain JSON objects.

The client is an extra of the installation and is imported only here, when a launcher of kind ``kubernetes`` is made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from .interface import LauncherConfigError, LauncherRefusedError, LauncherUnavailableError

NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
TIMEOUT: Final = (5.0, 15.0)
"""Wall seconds to connect, and to wait for an answer."""
PAGE: Final = 500
CONFLICTS: Final = 3
"""Attempts of a change when somebody else changes the Job at the same time."""


class TakenError(LauncherRefusedError):
    """An object of this name is there already."""


class MissingError(LauncherRefusedError):
    """There is no such object."""


class GoneError(LauncherUnavailableError):
    """What was asked for is too long ago for the server: begin anew with a list."""


class ConflictError(LauncherUnavailableError):
    """Somebody else changed the object meanwhile."""


class JobApi:
    """Jobs and CronJobs of one namespace. Every method raises LauncherError.

    ``client``: a ``kubernetes.client.ApiClient``; None takes the pod's service account, else the kubeconfig.
    """

    def __init__(self, namespace: str | None = None, client: Any = None) -> None:
        try:
            import kubernetes.client  # noqa: PLC0415 - an extra
            import kubernetes.config  # noqa: PLC0415 - an extra
            from urllib3.exceptions import HTTPError  # noqa: PLC0415 - comes with it
        except ModuleNotFoundError as error:
            raise LauncherConfigError(
                "launcher.kind kubernetes needs the client: pip install 'anomaly-exporter[kubernetes]'"
            ) from error
        self._models = kubernetes.client
        self._failures = (kubernetes.client.ApiException, HTTPError, OSError)
        if client is None:
            try:
                kubernetes.config.load_config()  # type: ignore[no-untyped-call]
            except kubernetes.config.ConfigException as error:
                raise LauncherConfigError(
                    f"neither a pod's service account nor a kubeconfig tells where Kubernetes is: {error}"
                ) from error
        self._batch = kubernetes.client.BatchV1Api(client)
        self.namespace = namespace or _own_namespace()

    def cron_job(self, name: str) -> dict[str, Any]:
        return self._call(f"read CronJob {name}", self._batch.read_namespaced_cron_job, name, self.namespace)

    def jobs(self) -> tuple[list[dict[str, Any]], str]:
        """All Jobs of the namespace, and the version of the list, which a watch goes on from."""
        items: list[dict[str, Any]] = []
        more: dict[str, str] = {}
        while True:
            page = self._call("list Jobs", self._batch.list_namespaced_job, self.namespace, limit=PAGE, **more)
            items += page.get("items") or []
            metadata = page.get("metadata", {})
            token = metadata.get("continue")
            if not token:
                return items, str(metadata.get("resourceVersion", ""))
            more = {"_continue": token}

    def watch(self, version: str, seconds: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """Changes of Jobs after ``version`` as (ADDED, MODIFIED or DELETED, Job), for ``seconds`` at most.

        Raises:
            GoneError: the server does not remember as far back; list again.
            LauncherError: it cannot be watched; what was told until then is right.
        """
        what = "watch Jobs"
        call: Any = self._batch.list_namespaced_job
        try:
            answer = call(
                self.namespace,
                watch=True,
                resource_version=version,
                timeout_seconds=seconds,
                allow_watch_bookmarks=True,
                _preload_content=False,
                _request_timeout=(TIMEOUT[0], seconds + TIMEOUT[1]),
            )
            if answer.status != 200:
                raise _error(answer.status, f"{what} in namespace {self.namespace}: {_message(answer.data)}")
            try:
                for event in _events(answer.stream(decode_content=True)):
                    yield from _change(event, what)
            finally:
                answer.release_conn()
        except self._failures as error:
            status, text = getattr(error, "status", None) or 0, str(getattr(error, "body", None) or error)
            raise _error(status, f"{what} in namespace {self.namespace}: {_message(text)}") from error

    def create(self, job: dict[str, Any]) -> dict[str, Any]:
        """Raises TakenError when there is a Job of this name."""
        body = self._models.V1Job.from_dict(job)
        what = f"create Job {job['metadata']['name']}"
        try:
            return self._call(what, self._batch.create_namespaced_job, self.namespace, body)
        except ConflictError as error:
            raise TakenError(str(error)) from error

    def suspend(self, name: str, suspended: bool) -> dict[str, Any]:
        """Set ``spec.suspend``; tried again when somebody else changed the Job at the same time."""
        body, what = {"spec": {"suspend": suspended}}, f"{'suspend' if suspended else 'resume'} Job {name}"
        for attempt in range(CONFLICTS):
            try:
                return self._call(what, self._batch.patch_namespaced_job, name, self.namespace, body)
            except ConflictError:
                if attempt == CONFLICTS - 1:
                    raise
        raise AssertionError

    def delete(self, name: str, uid: str) -> None:
        """Delete this very Job and, behind it, its pods; one that is gone is fine."""
        options = self._models.V1DeleteOptions(
            propagation_policy="Background", preconditions=self._models.V1Preconditions(uid=uid)
        )
        try:
            self._call(f"delete Job {name}", self._batch.delete_namespaced_job, name, self.namespace, body=options)
        except MissingError:
            return

    def _call(self, what: str, call: Callable[..., Any], *args: Any, **more: Any) -> dict[str, Any]:
        try:
            answer = call(*args, **more, _preload_content=False, _request_timeout=TIMEOUT)
            status, text = answer.status, answer.data
        except self._failures as error:
            status, text = getattr(error, "status", None) or 0, str(getattr(error, "body", None) or error)
        if 200 <= status < 300:
            try:
                found: dict[str, Any] = json.loads(text)
            except ValueError as error:
                raise LauncherUnavailableError(f"{what}: the answer is no JSON") from error
            return found
        raise _error(status, f"{what} in namespace {self.namespace}: {_message(text)}")


def _error(status: int, message: str) -> Exception:
    """The error of an answer's ``status``; 0 stands for no answer."""
    kinds: dict[int, type[Exception]] = {404: MissingError, 409: ConflictError, 410: GoneError}
    if status in kinds:
        return kinds[status](message)
    if status in (401, 403):
        return LauncherRefusedError(f"{message}; the Role of the service account must allow it")
    if status in (0, 429) or status >= 500:
        return LauncherUnavailableError(message)
    return LauncherRefusedError(message)


def _events(chunks: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The JSON objects, one per line, of a stream that is cut anywhere."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in filter(None, whole):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise LauncherUnavailableError("watch Jobs: an event is no JSON") from error


def _change(event: dict[str, Any], what: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The change that an event tells of; a bookmark is none. Raises LauncherError."""
    kind, found = str(event.get("type")), event.get("object")
    if kind == "ERROR" or not isinstance(found, dict):
        code = found.get("code", 0) if isinstance(found, dict) else 0
        raise _error(code, f"{what}: {_message(json.dumps(found))}")
    if kind in ("ADDED", "MODIFIED", "DELETED"):
        yield kind, found


def _message(text: Any) -> str:
    """The message of a Status object, else the text itself."""
    try:
        status = json.loads(text)
        return str(status["message"])
    except (ValueError, KeyError, TypeError):
        return " ".join(str(text).split())[:300]


def _own_namespace() -> str:
    try:
        return NAMESPACE_FILE.read_text().strip()
    except OSError as error:
        raise LauncherConfigError("launcher.namespace must be given outside of a pod: where is the CronJob?") from error
