"""``anomaly-exporter demo``: which story is told, how it ends, what is left behind."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from anomaly_exporter.config import ConfigError

from .incident import NoRoomError
from .processes import StackError
from .scenario import Scenario
from .stack import missing_programs
from .stand import Stand
from .story import Story, StoryError
from .terminal import say, title

DASHBOARDS = Path(__file__).resolve().parents[3] / "dashboards"  # beside a checkout; not part of the package
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


def run(*, once: bool, replay: Path | None = None, dataset: str = "nezha_ob", scenario: Scenario | None = None) -> int:
    """Tell the story, or replay recorded series; returns the exit code.

    With ``once`` it ends after the last chapter, otherwise everything keeps running until Ctrl-C. ``replay`` is a
    folder in the layout of labelled series (segments.csv, labels.csv, <dataset>.parquet).
    """
    folder = Path(tempfile.mkdtemp(prefix="anomaly-exporter-demo-"))
    told = False
    try:
        with _interruptible(), ExitStack() as on:
            if replay is None:
                stand = _story(on, folder, scenario or Scenario())
            else:
                from .replay import tell  # noqa: PLC0415  needs pandas, the extra data

                stand = tell(on, folder, replay, dataset)
            told = True
            if not once:
                _keep_running(stand)
    except KeyboardInterrupt:
        return 0 if told else EXIT_INTERRUPTED
    except (StoryError, StackError, NoRoomError, ConfigError) as error:
        print(f"\nThe demo failed: {error}\nLogs: {folder}", file=sys.stderr, flush=True)
        return EXIT_FAILED
    finally:
        # After a failure the logs are what helps.
        if told:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def _story(on: ExitStack, folder: Path, scenario: Scenario) -> Stand:
    lacking = missing_programs()
    if importlib.util.find_spec("aiosmtpd") is None:
        lacking.append("aiosmtpd")
    if lacking:
        say(f"Not installed: {', '.join(lacking)}. The exporter reads its built-in simulator instead of Prometheus;")
        say("scores are shown from its own page, and there is no mail. For all of it:")
        say("apt-get install prometheus prometheus-alertmanager; pip install 'anomaly-exporter[demo]'")
    return Story(scenario, folder, on, monitored=not lacking).tell()


def _keep_running(stand: Stand) -> None:
    title("Everything keeps running; Ctrl-C ends it")
    for name, url in stand.urls.items():
        say(f"  {name:<13}{url}{f'  (sign in with {stand.token})' if name == 'control' else ''}")
    if DASHBOARDS.is_dir() and "Prometheus" in stand.urls:
        say(f"  Grafana: provision the dashboards in {DASHBOARDS} (*.json) on this Prometheus as data source")
    forever = threading.Event()
    while not forever.wait(1.0):
        stand.check()


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP end the demo as Ctrl-C does, so that what it started is stopped in order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
