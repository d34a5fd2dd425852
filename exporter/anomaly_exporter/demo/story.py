"""The demo's story: quiet, an incident below the historical maximum, the mail, two retrainings."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from anomaly_exporter.workload import SERVICES, Cluster

from . import stand
from .feeds import ClusterFeed
from .incident import Raise, plan
from .mailbox import Mail
from .page import Page
from .processes import wait_until
from .scenario import Scenario, address
from .terminal import clock_face, mail_text, say, score_line, title

LEAD = 15.0  # wall seconds that the set-up may take before live samples are due
TRAINED = 300.0  # wall seconds until the models must be in force
ALERTED = 60.0  # wall seconds until the mail must have come
LINGER = 180.0  # wall seconds that a scheduled retraining may take beyond its due time


class StoryError(Exception):
    """The demo did not show what it promises; the message says what was missing."""


@dataclass
class Story:
    """One telling: ``on`` takes down what the chapters bring up.

    ``monitored`` is False where Prometheus and Alertmanager are not installed: the exporter then reads the simulator
    itself, its own page shows the anomaly, and there is no mail.
    """

    scenario: Scenario
    folder: Path
    on: ExitStack
    monitored: bool

    def tell(self) -> stand.Stand:
        """All chapters. Raises StoryError, StackError or NoRoomError when one fails."""
        self._set_up()
        self._wait_for_models()
        self._stay_quiet()
        struck = self._strike()
        self._see_it(struck)
        self._retrain(2)
        return self.stand

    @property
    def labels(self) -> dict[str, str]:
        """The series of the incident."""
        namespace, container = self.scenario.service
        return {"namespace": namespace, "container": container, "metric": "cpu"}

    @property
    def now(self) -> float:
        """Data time."""
        return self.stand.clock.now()

    def _set_up(self) -> None:
        s = self.scenario
        title("1. Setting up")
        say(f"  {len(SERVICES)} services, {s.history // 86400} days of history at {s.step} s, seed {s.seed};")
        say(f"  time runs {s.speed:g} times faster: one step of {s.step} s takes {s.step / s.speed:g} s")
        clock = stand.clock_from(time.time(), s.start, s.speed, LEAD)
        self.feed = ClusterFeed(Cluster(s.seed))
        self.told: list[Mail] = []
        self.incident_file = self.folder / "incident.json"
        if self.monitored:
            self.stand = stand.start(self.on, self.folder, clock, s.document, feed=self.feed, past=s.past)
        else:
            self.stand = stand.start_embedded(self.on, self.folder, clock, s.embedded(self.incident_file))
        for name, url in self.stand.urls.items():
            say(f"  {name:<13}{url}")
        say(f"  {'logs':<13}{self.folder}")

    def _wait_for_models(self) -> None:
        title("2. Training, in a child process of the exporter")
        wanted = len(SERVICES) * len(self.stand.config.targets)
        began = time.monotonic()
        seen: dict[str, str] = {}

        def ready() -> bool:
            metrics = self.stand.exporter.metrics()
            if metrics is None:
                return False
            for target in self.stand.config.targets:
                if metrics.value("anomaly_exporter_training_running", target=target.name):
                    share = metrics.value("anomaly_exporter_training_progress_ratio", target=target.name) or 0.0
                    text = f"  {target.name}: {int(share * 10) * 10} %"
                    if seen.get(target.name) != text:
                        seen[target.name] = text
                        say(text)
            return len(metrics.all("anomaly_score")) >= wanted

        wait_until(ready, TRAINED, f"scores of all {wanted} series", *self.stand.children, every=0.5)
        say(f"  {wanted} series are scored, {time.monotonic() - began:.0f} s after the start")
        self._say_samples_read()

    def _stay_quiet(self) -> None:
        s = self.scenario
        title(f"3. {s.quiet // 60} quiet minutes (data time): nobody is to get a mail")
        end = self.now + s.quiet
        self._watch(lambda _: self.now >= end, s.quiet / s.speed + 30, "the quiet minutes to pass")
        self._refuse_mail("in the quiet minutes")

    def _strike(self) -> Raise:
        s = self.scenario
        metrics = self._page()
        upper = metrics.value("anomaly_expected_upper", **self.labels)
        if upper is None:
            raise StoryError(
                f"{'/'.join(s.service)} has no expected band; is it scored? see {self.folder}/exporter.log"
            )
        start = int(self.now // s.step + 2) * s.step
        raised = plan(self.feed.cluster, s.service, (s.birth, s.start), (start, start + s.incident), upper)
        self.feed.cluster = self.feed.cluster.with_incidents([raised.incident])
        whole = self.incident_file.with_suffix(".new")
        whole.write_text(raised.incident.to_json(), encoding="utf-8")
        whole.replace(self.incident_file)  # a reader never sees half a file
        title(f"4. An incident: {'/'.join(s.service)} works at night as if it were day, from {clock_face(start)}")
        say(f"  CPU {raised.before:.2f} -> {raised.lowest:.2f}..{raised.highest:.2f} cores per pod;")
        say(f"  its history reached {raised.maximum:.2f}, and {raised.quantile:.2f} for 1 % of the time:")
        say("  no static limit could see this without crying wolf every afternoon")
        return raised

    def _see_it(self, struck: Raise) -> None:
        began = struck.incident.start
        crossed: list[float] = []

        def alarmed(metrics: Page) -> bool:
            if not crossed and (metrics.value("anomaly_score", **self.labels) or 0) >= 1:
                crossed.append(self.now)
            detected = metrics.value("anomaly_detected", **self.labels) == 1
            return bool(self._team_mails()) if self.monitored else detected

        self._watch(alarmed, ALERTED, "the mail" if self.monitored else "anomaly_detected to become 1")
        if not crossed:
            raise StoryError("the alert came, but the score of its series was never seen at 1 or above")
        minutes = (self.now - began) / 60
        if not self.monitored:
            title(f"5. anomaly_detected is 1, {minutes:.0f} minutes (data time) after the incident began")
            say("  No mail: that needs Debian's packages prometheus and prometheus-alertmanager and the extra demo.")
            return
        mail = self._team_mails()[0]
        title(f"5. The mail, {minutes:.0f} minutes (data time) after the incident began")
        say(mail_text(mail))
        self.told.append(mail)

    def _retrain(self, times: int) -> None:
        title(f"6. {times} scheduled retrainings, every {self.scenario.every // 3600} h: they read only what is new")
        for _ in range(times):
            before = self._generations()
            patience = self.scenario.every / self.scenario.speed + LINGER

            def newer(before: Mapping[str, float] = before) -> bool:
                self._say_other_mails()
                after = self._generations()
                return all(after.get(t, 0) > n for t, n in before.items()) and len(after) == len(before)

            wait_until(newer, patience, "a scheduled retraining of every target", *self.stand.children, every=0.5)
            numbers = ", ".join(f"{metric} {number:g}" for metric, number in self._generations().items())
            say(f"  {clock_face(self.now)}  retrained; generations in force: {numbers}")
            self._say_samples_read()
        self._say_thresholds()
        self._say_other_mails()

    def _say_thresholds(self) -> None:
        """The parts of the adaptive threshold per series; raises StoryError unless P and R of one of them differ.

        A series may lack a P: a model that cannot be compared with the one before starts without a past.
        """
        detail = self._detail()
        say("  series                          P (earlier)  R (recent)  w      E      T now")
        moved = False
        for labels, recent in detail.all("anomaly_threshold_recent"):
            where = {k: labels[k] for k in ("namespace", "container", "metric", "model")}
            previous, weight, decay = (
                detail.value(f"anomaly_threshold_{n}", **where) for n in ("previous", "weight", "decay")
            )
            threshold = self._page().value("anomaly_threshold", **where)
            name = f"{where['namespace']}/{where['container']} {where['metric']}"
            if previous is None or weight is None or decay is None:
                rejected = detail.value("anomaly_model_rejections", **where)
                why = "the gate rejected the new model; the one before stays" if rejected else "nothing to compare with"
                say(f"  {name:<32}{why}")
                continue
            moved = moved or previous != recent
            shown = f"{threshold:.4f}" if threshold is not None else "-"
            say(f"  {name:<32}{previous:<11.4f}  {recent:<10.4f}  {weight:.3f}  {decay:.3f}  {shown}")
        if not moved:
            raise StoryError("all series were retrained, but the earlier threshold P of each still equals the recent R")

    def _say_other_mails(self) -> None:
        """A line per mail that was not told of yet."""
        for mail in self.stand.mailbox.mails if self.stand.mailbox else ():
            if mail not in self.told:
                self.told.append(mail)
                say(f"  {clock_face(self.now)}  mail to {', '.join(mail.recipients)}: {mail.subject}")

    def _say_samples_read(self) -> None:
        metrics = self._page()
        for labels, read in metrics.all("anomaly_exporter_training_samples_read"):
            say(f"  {labels['target']}: {read:,.0f} samples read for this training")

    def _generations(self) -> dict[str, float]:
        """Target metric -> oldest generation number of its series."""
        out: dict[str, float] = {}
        page = self.stand.exporter.detail()
        for labels, number in page.all("anomaly_model_generation") if page else ():
            out[labels["metric"]] = min(number, out.get(labels["metric"], number))
        return out

    def _watch(self, done: Callable[[Page], bool], timeout: float, what: str) -> None:
        """Print a line per cycle of the incident's series until ``done``."""
        deadline = time.monotonic() + timeout
        last: object = None
        while True:
            self.stand.check()
            metrics = self.stand.exporter.metrics()
            if metrics is not None:
                cycle = metrics.value("anomaly_exporter_last_success_timestamp_seconds")
                if cycle != last:
                    last = cycle
                    say(score_line(self.now, metrics, self.labels))
                if done(metrics):
                    return
            if time.monotonic() > deadline:
                raise StoryError(f"waited {timeout:.0f} s in vain for {what}; logs are in {self.folder}")
            time.sleep(0.1)

    def _refuse_mail(self, when: str) -> None:
        mails = self.stand.mailbox.mails if self.stand.mailbox else ()
        if mails:
            raise StoryError(f"{len(mails)} mails came {when}, the first one:\n{mail_text(mails[0])}")
        detected = [labels for labels, value in self._page().all("anomaly_detected") if value == 1]
        if detected and not self.monitored:
            raise StoryError(f"{len(detected)} series were anomalous {when}, the first one: {detected[0]}")

    def _team_mails(self) -> list[Mail]:
        """Mails of the incident that reached the team of its tag."""
        namespace, container = self.scenario.service
        mails = self.stand.mailbox.mails if self.stand.mailbox else ()
        return [m for m in mails if address(namespace) in m.recipients and container in m.subject]

    def _page(self) -> Page:
        return self._asked(self.stand.exporter.metrics, "/metrics")

    def _detail(self) -> Page:
        return self._asked(self.stand.exporter.detail, "/metrics/detail")

    def _asked(self, fetch: Callable[[], Page | None], path: str) -> Page:
        page = fetch()
        if page is None:
            raise StoryError(f"the exporter does not answer at {self.stand.exporter.url}{path}")
        return page
