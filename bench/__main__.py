"""Measure, print one table, write ``bench/results/fleet[-quick].json``.

Every figure comes from its own child process, so that its peak memory is its own. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from . import scoring, training
from .jobs import FULL, QUICK, RECIPES, Job

RESULTS = Path(__file__).parent / "results"
MEASUREMENTS: dict[str, Callable[[Job, str], dict[str, float]]] = {
    "scoring-stacked": scoring.stacked,
    "scoring-keras": scoring.one_by_one,
    "training-stacked": training.stacked,
    "training-keras": training.one_by_one,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller fleet, few epochs: under three minutes")
    parser.add_argument("--only", metavar="RECIPE", choices=RECIPES, help="one architecture")
    parser.add_argument("--child", nargs=2, metavar=("MEASUREMENT", "RECIPE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    job = QUICK if given.quick else FULL
    if given.child:
        print(json.dumps(child(job, *given.child)))
        return 0
    recipes = [given.only] if given.only else RECIPES
    result = {
        "machine": machine(),
        "job": vars(job),
        "recipes": {name: measure(job, name, given.quick) for name in recipes},
    }
    print(table(job, result))
    if not given.only:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"fleet{'-quick' if given.quick else ''}.json"
        path.write_text(json.dumps(result, indent=2) + "\n")
        print(f"\nwritten to {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path.name}")
    return 0


def child(job: Job, measurement: str, recipe: str) -> dict[str, float]:
    """One measurement in this process, with its peak memory in MiB."""
    found = MEASUREMENTS[measurement](job, recipe)
    return {**found, "rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def measure(job: Job, recipe: str, quick: bool) -> dict[str, dict[str, float]]:
    """All measurements of a recipe, each in a process of its own."""
    out = {}
    for name in MEASUREMENTS:
        print(f"{recipe}: {name} ...", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "bench", "--child", name, recipe, *(["--quick"] if quick else [])]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "OPENBLAS_NUM_THREADS": "1"}
        if name.startswith("training"):
            environment.pop("OMP_NUM_THREADS", None)
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
        if done.returncode:
            raise SystemExit(f"{recipe} {name} failed:\n{done.stderr[-2000:]}")
        out[name] = json.loads(done.stdout.splitlines()[-1])
    return out


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    cpu = [line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {
        "cpu": cpu[0] if cpu else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": [round(x, 2) for x in os.getloadavg()],
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "keras")},
        "tensorflow": _version_of_any("tensorflow", "tensorflow-cpu"),
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def _version_of_any(*names: str) -> str:
    from importlib.metadata import PackageNotFoundError

    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "absent"


def table(job: Job, result: dict[str, Any]) -> str:
    """The figures as text."""
    where = result["machine"]
    head = f"""\
{where["cpu"]}, {where["cores"]} cores, load {where["load"][0]} at the start
Python {where["python"]}, NumPy {where["numpy"]}, Keras {where["keras"]}, TensorFlow {where["tensorflow"]}

Scoring: {job.scored} series x 1 window of {job.window} x {job.features}.
  Keras: one model per series, predict, measured on {job.keras_scored} and scaled.
Training: {job.train_windows} + {job.val_windows} windows per series, batch {job.batch}, rate for \
{job.reference_epochs} epochs ({job.epochs} run), stack of {job.trained}.
  Keras: a new model per series, measured on {job.keras_trained}.

         |     scoring, us per series     |  training, series per minute   |       peak memory, MiB
         |  stacked      Keras     ratio  |  stacked      Keras     ratio  | score  Keras   train  Keras"""
    lines = [head]
    for name, found in result["recipes"].items():
        score, predict = (1e6 * found[k]["seconds"] / found[k]["series"] for k in ("scoring-stacked", "scoring-keras"))
        fleet, single = (training.per_minute(job, found[k]) for k in ("training-stacked", "training-keras"))
        memory = [found[k]["rss_mib"] for k in MEASUREMENTS]
        lines.append(
            f"{name:9}|{score:9.1f}{predict:11.0f}{predict / score:9.0f}x  |{fleet:9.0f}{single:11.1f}"
            f"{fleet / single:9.1f}x  |{memory[0]:6.0f} {memory[1]:6.0f} {memory[2]:7.0f} {memory[3]:6.0f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
