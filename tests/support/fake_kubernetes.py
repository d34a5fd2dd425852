"""The part of Kubernetes' API server that Jobs and CronJobs need, in this process, with its wire format.

Serves ``/apis/batch/v1`` over HTTP: get, list (label selectors, pages), watch, create, patch (merge and JSON patch of
``spec.suspend``), delete with propagation and preconditions, and Status objects for what goes wrong. What the Job
controller and the kubelet would do is done by :meth:`FakeKubernetes.settle` and :meth:`FakeKubernetes.finish`, so that
a test decides when pods end, and how.
"""

from __future__ import annotations

import copy
import json
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Object = dict[str, Any]

_PATH = re.compile(r"/apis/batch/v1/namespaces/([^/]+)/(jobs|cronjobs)(?:/([^/]+))?\Z")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_LABEL = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?\Z")
_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}
PATCHES = ("application/merge-patch+json", "application/strategic-merge-patch+json", "application/json-patch+json")


class StatusError(Exception):
    """An answer that is no success."""

    def __init__(self, code: int, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.code, self.reason = code, reason or _REASONS[code]

    @property
    def body(self) -> Object:
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(self),
            "reason": self.reason,
            "code": self.code,
        }


class FakeKubernetes:
    """An API server with one namespace; ``trouble`` holds statuses that the next requests get instead of an answer.

    ``requests``: (verb, path) of everything that was asked. ``forbidden``: verbs that the Role does not allow.
    """

    def __init__(self, namespace: str = "monitoring") -> None:
        self.namespace = namespace
        self.trouble: list[int] = []
        self.forbidden: set[str] = set()
        self.requests: list[tuple[str, str]] = []
        self.stored: dict[tuple[str, str], Object] = {}
        self._events: list[Object] = []
        self.oldest = 0
        self.watches = 0
        self._version = 100
        self._changed = threading.Condition()

    # What a cluster does beside answering.

    def add_cron_job(self, name: str, job_template: Object, schedule: str = "0 */2 * * *") -> Object:
        """A CronJob with this template, as `helm install` would make it."""
        body = {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": name},
            "spec": {"schedule": schedule, "concurrencyPolicy": "Forbid", "jobTemplate": copy.deepcopy(job_template)},
        }
        with self._changed:
            return self._store("cronjobs", body)

    def schedule(self, cron_job: str) -> str:
        """What the CronJob controller does when it is time: a Job of the template; its name."""
        with self._changed:
            owner = self._get("cronjobs", cron_job)
            reference = {"apiVersion": "batch/v1", "kind": "CronJob", "name": cron_job, "controller": True}
            template = copy.deepcopy(owner["spec"]["jobTemplate"])
            metadata = {
                **template.get("metadata", {}),
                "name": f"{cron_job}-{self._version}",
                "ownerReferences": [{**reference, "uid": owner["metadata"]["uid"], "blockOwnerDeletion": True}],
            }
            return str(self._create_job({"metadata": metadata, "spec": template["spec"]})["metadata"]["name"])

    def job(self, name: str) -> Object:
        """A copy of a stored Job."""
        with self._changed:
            return copy.deepcopy(self._get("jobs", name))

    def jobs(self) -> list[str]:
        with self._changed:
            return sorted(name for kind, name in self.stored if kind == "jobs")

    def settle(self, name: str) -> None:
        """What the Job controller does after a change of ``spec.suspend``: start the pods or end them."""
        with self._changed:
            job = self._get("jobs", name)
            status, suspended = job["status"], bool(job["spec"].get("suspend"))
            if suspended:
                status.pop("startTime", None)
                status.update(active=0)
                _condition(job, "Suspended", "True", "JobSuspended", "Job suspended")
            elif not _finished(job):
                status.setdefault("startTime", _now())
                status.update(active=job["spec"].get("parallelism", 1), ready=0, terminating=0)
                if _conditions(job).get("Suspended"):
                    _condition(job, "Suspended", "False", "JobResumed", "Job resumed")
            self._touch("jobs", job)

    def finish(self, name: str, code: int = 0, index: int | None = None) -> None:
        """Pods of ``name`` end with exit ``code``: that of ``index`` alone, or all of them and with them the Job."""
        with self._changed:
            job = self._get("jobs", name)
            total = job["spec"].get("completions", 1)
            done = _indexes(job["status"].get("completedIndexes", ""))
            done |= {index} if index is not None else set(range(total)) if code == 0 else set()
            job["status"].update(succeeded=len(done), completedIndexes=_intervals(done), active=total - len(done))
            if code != 0:
                job["status"].update(active=0, failed=1)
                message = (
                    f"Container train for pod {self.namespace}/{name}-0-x7k2p failed with exit code {code} "
                    "matching FailJob rule at index 1"
                )
                _condition(job, "FailureTarget", "True", "PodFailurePolicy", message)
                _condition(job, "Failed", "True", "PodFailurePolicy", message)
            elif len(done) == total:
                job["status"].update(active=0, completionTime=_now())
                _condition(job, "SuccessCriteriaMet", "True", "CompletionsReached", "Reached expected number")
                _condition(job, "Complete", "True", "CompletionsReached", "Reached expected number of succeeded pods")
            self._touch("jobs", job)

    # What it answers.

    def answer(self, verb: str, target: str, content_type: str, body: bytes) -> tuple[int, Object]:
        """Status and object of one request that is no watch."""
        url = urlsplit(target)
        with self._changed:
            self.requests.append((verb, url.path))
            try:
                return self._answer(verb, url.path, parse_qs(url.query), content_type, body)
            except StatusError as error:
                return error.code, error.body

    def _answer(
        self, verb: str, path: str, query: dict[str, list[str]], content_type: str, body: bytes
    ) -> tuple[int, Object]:
        if self.trouble:
            raise StatusError(self.trouble.pop(0), "the server is in trouble")
        found = _PATH.match(path)
        if not found:
            raise StatusError(404, "the server could not find the requested resource")
        namespace, kind, name = found.groups()
        wanted = {"GET": "get" if name else "list", "POST": "create", "PATCH": "patch", "DELETE": "delete"}[verb]
        if wanted in self.forbidden or namespace != self.namespace:
            who = 'User "system:serviceaccount:monitoring:anomaly-exporter"'
            raise StatusError(
                403,
                f'{kind}.batch is forbidden: {who} cannot {wanted} resource "{kind}" in API group "batch" '
                f'in the namespace "{namespace}"',
            )
        if wanted == "create":
            job = _parsed(body)
            _validate(job)
            if ("jobs", job["metadata"]["name"]) in self.stored:
                raise StatusError(409, f'jobs.batch "{job["metadata"]["name"]}" already exists', "AlreadyExists")
            return 201, copy.deepcopy(self._create_job(job))
        if wanted == "list":
            return 200, self._list(kind, query)
        item = self._get(kind, name)
        if wanted == "get":
            return 200, copy.deepcopy(item)
        if wanted == "patch":
            return 200, copy.deepcopy(self._patch(kind, item, content_type, body))
        return self._delete(kind, item, query, body)

    def _list(self, kind: str, query: dict[str, list[str]]) -> Object:
        selector = dict(part.split("=", 1) for part in query.get("labelSelector", [""])[0].split(",") if part)
        items = [
            item
            for (stored, _), item in sorted(self.stored.items())
            if stored == kind and selector.items() <= item["metadata"].get("labels", {}).items()
        ]
        first, limit = int(query.get("continue", ["0"])[0]), int(query.get("limit", ["0"])[0]) or len(items)
        metadata: Object = {"resourceVersion": str(self._version)}
        if first + limit < len(items):
            metadata |= {"continue": str(first + limit), "remainingItemCount": len(items) - first - limit}
        name = {"jobs": "JobList", "cronjobs": "CronJobList"}[kind]
        shown = [{k: v for k, v in i.items() if k not in ("kind", "apiVersion")} for i in items[first : first + limit]]
        return {"kind": name, "apiVersion": "batch/v1", "metadata": metadata, "items": copy.deepcopy(shown)}

    def _patch(self, kind: str, item: Object, content_type: str, body: bytes) -> Object:
        if content_type not in PATCHES:
            raise StatusError(
                415, f"the body of the request was in an unknown format - accepted media types: {PATCHES}"
            )
        patch = json.loads(body)
        if isinstance(patch, list) != (content_type == "application/json-patch+json"):
            raise StatusError(400, "error decoding patch")
        if isinstance(patch, list):
            patch = {"spec": {p["path"].rpartition("/")[2]: p.get("value") for p in patch}}
        version = patch.get("metadata", {}).get("resourceVersion")
        if version not in (None, item["metadata"]["resourceVersion"]):
            raise StatusError(
                409,
                f'Operation cannot be fulfilled on {kind}.batch "{item["metadata"]["name"]}": the object has been '
                "modified; please apply your changes to the latest version and try again",
            )
        if set(patch.get("spec", {})) - {"suspend", "parallelism", "activeDeadlineSeconds"}:
            raise StatusError(
                422, f'Job.batch "{item["metadata"]["name"]}" is invalid: spec.template: field is immutable'
            )
        item["spec"].update(patch.get("spec", {}))
        self._touch(kind, item)
        return item

    def _delete(self, kind: str, item: Object, query: dict[str, list[str]], body: bytes) -> tuple[int, Object]:
        options = json.loads(body) if body else {}
        policy = query.get("propagationPolicy", [options.get("propagationPolicy", "Background")])[0]
        if policy not in ("Background", "Foreground", "Orphan"):
            raise StatusError(422, f'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: {policy!r}')
        metadata = item["metadata"]
        uid = options.get("preconditions", {}).get("uid")
        if uid not in (None, metadata["uid"]):
            raise StatusError(
                409, f"Precondition failed: UID in precondition: {uid}, UID in object meta: {metadata['uid']}"
            )
        if policy == "Foreground":
            metadata.update(deletionTimestamp=_now(), finalizers=["foregroundDeletion"])
            self._touch(kind, item)
            return 200, copy.deepcopy(item)
        del self.stored[kind, metadata["name"]]
        self._event("DELETED", item)
        details = {"name": metadata["name"], "group": "batch", "kind": kind, "uid": metadata["uid"]}
        return 200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    def forget(self) -> None:
        """What happens to an old history: versions before now are unknown, and watches of them are told so."""
        with self._changed:
            self.oldest = self._version + 1
            self._version += 2
            self._changed.notify_all()

    def watch(self, target: str, timeout: float) -> Iterator[Object]:
        """Events of Jobs after the version asked for, for ``timeout`` seconds; an ERROR 410 when that is too old."""
        query = parse_qs(urlsplit(target).query)
        version = int(query.get("resourceVersion", ["0"])[0] or 0)
        self.watches += 1
        if 0 < version < self.oldest:
            yield {"type": "ERROR", "object": StatusError(410, f"too old resource version: {version}").body}
            return
        deadline = datetime.now(UTC).timestamp() + timeout
        while True:
            with self._changed:
                if 0 < version < self.oldest:
                    return
                news = [
                    e
                    for e in self._events
                    if e["object"]["kind"] == "Job" and int(e["object"]["metadata"]["resourceVersion"]) > version
                ]
                left = deadline - datetime.now(UTC).timestamp()
                if not news and left > 0:
                    self._changed.wait(left)
                    continue
            if not news:
                return
            yield from news
            version = int(news[-1]["object"]["metadata"]["resourceVersion"])

    def _get(self, kind: str, name: str) -> Object:
        try:
            return self.stored[kind, name]
        except KeyError:
            raise StatusError(404, f'{kind}.batch "{name}" not found') from None

    def _create_job(self, job: Object) -> Object:
        job = {"apiVersion": "batch/v1", "kind": "Job", **copy.deepcopy(job), "status": {}}
        spec = job["spec"]
        for field, value in {"parallelism": 1, "completionMode": "NonIndexed", "suspend": False}.items():
            spec.setdefault(field, value)
        stored = self._store("jobs", job)
        self.settle_new(stored)
        return stored

    def settle_new(self, job: Object) -> None:
        """A new Job gets its first status at once, as the controller would give it a moment later."""
        if not job["spec"]["suspend"]:
            job["status"] = {"startTime": _now(), "active": job["spec"]["parallelism"], "ready": 0, "terminating": 0}
            self._touch("jobs", job)

    def _store(self, kind: str, item: Object) -> Object:
        metadata = item.setdefault("metadata", {})
        metadata.update(
            namespace=self.namespace, uid=str(uuid.uuid4()), creationTimestamp=_now(), generation=1, managedFields=[]
        )
        self.stored[kind, metadata["name"]] = item
        self._version += 1
        metadata["resourceVersion"] = str(self._version)
        self._event("ADDED", item)
        return item

    def _touch(self, kind: str, item: Object) -> None:
        self._version += 1
        item["metadata"]["resourceVersion"] = str(self._version)
        self.stored[kind, item["metadata"]["name"]] = item
        self._event("MODIFIED", item)

    def _event(self, name: str, item: Object) -> None:
        self._version += name == "DELETED"
        copied = copy.deepcopy(item)
        copied["metadata"]["resourceVersion"] = str(self._version)
        self._events.append({"type": name, "object": copied})
        self._changed.notify_all()


def _validate(job: Object) -> None:
    """The checks of a real server that our Jobs could fail."""
    name = job.get("metadata", {}).get("name", "")
    spec = job.get("spec", {})
    wrong = []
    if not _NAME.match(name) or len(name) > 63:
        wrong.append(f'metadata.name: Invalid value: "{name}": a lowercase RFC 1123 subdomain is expected')
    wrong += [
        f'metadata.labels: Invalid value: "{value}"'
        for value in job["metadata"].get("labels", {}).values()
        if not _LABEL.match(value) or len(value) > 63
    ]
    if spec.get("completionMode") == "Indexed":
        if not spec.get("completions"):
            wrong.append("spec.completions: Required value: when completion mode is Indexed")
        elif len(f"{name}-{spec['completions'] - 1}") > 63:
            wrong.append(f'metadata.name: Invalid value: "{name}": will not be able to create pods with this name')
    elif "backoffLimitPerIndex" in spec:
        wrong.append("spec.backoffLimitPerIndex: Invalid value: requires indexed completion mode")
    pod = spec.get("template", {}).get("spec", {})
    if pod.get("restartPolicy") not in ("Never", "OnFailure"):
        wrong.append('spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"')
    if "podFailurePolicy" in spec and pod.get("restartPolicy") != "Never":
        wrong.append('spec.template.spec.restartPolicy: Invalid value: only "Never" is supported with podFailurePolicy')
    if not pod.get("containers"):
        wrong.append("spec.template.spec.containers: Required value")
    for owner in job["metadata"].get("ownerReferences", []):
        wrong += [
            f"metadata.ownerReferences.{field}: Invalid value: must not be empty"
            for field in ("apiVersion", "kind", "name", "uid")
            if not owner.get(field)
        ]
    if wrong:
        raise StatusError(422, f'Job.batch "{name}" is invalid: {"; ".join(wrong)}')


def _parsed(body: bytes) -> Object:
    try:
        job: Object = json.loads(body)
    except ValueError:
        raise StatusError(400, "the object provided is unrecognized") from None
    if (job.get("apiVersion"), job.get("kind")) != ("batch/v1", "Job"):
        raise StatusError(400, "Job in version batch/v1 cannot be handled as another kind")
    return job


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _conditions(job: Object) -> dict[str, Object]:
    return {c["type"]: c for c in job["status"].get("conditions", [])}


def _finished(job: Object) -> bool:
    return bool({"Complete", "Failed"} & set(_conditions(job)))


def _condition(job: Object, name: str, value: str, reason: str, message: str) -> None:
    found = {
        "type": name,
        "status": value,
        "lastProbeTime": _now(),
        "lastTransitionTime": _now(),
        "reason": reason,
        "message": message,
    }
    job["status"]["conditions"] = [*(c for c in job["status"].get("conditions", []) if c["type"] != name), found]


def _indexes(text: str) -> set[int]:
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def _intervals(indexes: set[int]) -> str:
    """Numbers as the API writes them: runs of three and more with a dash, others apart."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ",".join(str(r[0]) if len(r) == 1 else f"{r[0]}{'-' if len(r) > 2 else ','}{r[-1]}" for r in runs)


@contextmanager
def served(cluster: FakeKubernetes) -> Iterator[str]:
    """The URL under which ``cluster`` answers."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            query = parse_qs(urlsplit(self.path).query)
            if self.command == "GET" and query.get("watch", ["false"])[0].lower() in ("true", "1"):
                return self._stream(float(query.get("timeoutSeconds", ["5"])[0]))
            kind = self.headers.get("Content-Type", "").partition(";")[0]
            return self._answer(*cluster.answer(self.command, self.path, kind, body))

        def _answer(self, code: int, answer: Object) -> None:
            text = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def _stream(self, timeout: float) -> None:
            if "watch" in cluster.forbidden:
                error = StatusError(403, 'jobs.batch is forbidden: cannot watch resource "jobs" in API group "batch"')
                return self._answer(403, error.body)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for event in cluster.watch(self.path, timeout):
                line = json.dumps(event).encode() + b"\n"
                self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
            return None

        do_GET = do_POST = do_PATCH = do_DELETE = _reply  # noqa: N815 - names of the base class

        def log_message(self, *_: object) -> None:
            """Tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
