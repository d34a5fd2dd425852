"""A whole test part through real Prometheus, Alertmanager and SMTP: events found of all, false mails.

    python bench/replay.py ../shared/data/series --dataset nezha_ob --speed 60

Takes (length of the test part) / speed: nezha_ob needs twelve minutes at 60. Models are fitted once, on the
training part; events before the first full window of the test part are counted as missed. Alertmanager does not mail
again while an alert stands: an event in its time counts as detected, not as mailed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from anomaly_exporter.demo import replay
from anomaly_exporter.demo.judging import judge
from anomaly_exporter.demo.recording import load
from anomaly_exporter.demo.terminal import clock_face


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with segments.csv, labels.csv and the series")
    parser.add_argument("--dataset", default="nezha_ob")
    parser.add_argument("--entities", default="", help="comma-separated; all when left out")
    parser.add_argument("--recipe", default="fc")
    parser.add_argument("--speed", type=float, default=60.0, help="data seconds per wall second")
    parser.add_argument("--hours", type=float, default=1e6, help="stop after so many hours of the test part")
    arguments = parser.parse_args()
    recording = load(arguments.data, arguments.dataset, tuple(filter(None, arguments.entities.split(","))))
    start = recording.test[0] + replay.WARM_UP * recording.step
    end = min(recording.test[1], recording.test[0] + int(arguments.hours * 3600))
    stretch = replay.Stretch(start, end, arguments.speed, recipe=arguments.recipe)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as on:
        running = replay.start(on, Path(folder), recording, stretch)
        series = ", ".join(f"{count} {what}" for what, count in replay.wait_for_models(running).items())
        print(f"{series} after {time.monotonic() - began:.0f} s, at {clock_face(running.clock.now())}", flush=True)
        replay.play(
            running, end, lambda mail: print(f"  {clock_face(running.clock.now())}  {mail.subject}", flush=True)
        )
        detections = replay.detection_notices(running, stretch, recording.step)
        mails = replay.mail_notices(running)
    events = [e for e in recording.events if e.end <= end]
    for what, notices in (("detected", detections), ("mailed", mails)):
        print(replay.report(what, judge(events, recording.forgiven, notices)))
    days = (end - start) / 86_400 * len(recording.entities)
    print(f"{len(mails)} mails in {days:.1f} entity-days, {time.monotonic() - began:.0f} s wall")


if __name__ == "__main__":
    main()
