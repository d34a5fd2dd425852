"""Measure, print one table, write ``bench/results/fleet[-quick].json``.

Every figure comes from its own child process, so that its peak memory is its own; ``--quick`` saves that (importing
TensorFlow takes seconds) and measures all architectures in one child, without memory. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
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
    parser.add_argument("--child", nargs="+", metavar=("MEASUREMENT", "RECIPE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    job = QUICK if given.quick else FULL
    if given.child:
        measurement, *recipes = given.child
        print(json.dumps({recipe: child(job, measurement, recipe) for recipe in recipes}))
        return 0
    recipes = [given.only] if given.only else list(RECIPES)
    result: dict[str, Any] = {"machine": machine(), "job": vars(job), "recipes": {}}
    for group in [recipes] if given.quick else [[recipe] for recipe in recipes]:
        result["recipes"].update(measure(group, given.quick))
    print(table(job, result, memory=not given.quick))
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


def measure(recipes: list[str], quick: bool) -> dict[str, dict[str, dict[str, float]]]:
    """All measurements of ``recipes``, each kind in a process of its own: recipe -> measurement -> figures."""
    out: dict[str, dict[str, dict[str, float]]] = {recipe: {} for recipe in recipes}
    for name in MEASUREMENTS:
        start = time.perf_counter()
        command = [sys.executable, "-m", "bench", "--child", name, *recipes, *(["--quick"] if quick else [])]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "OPENBLAS_NUM_THREADS": "1"}
        if name.startswith("training"):
            environment.pop("OMP_NUM_THREADS", None)
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
        if done.returncode:
            raise SystemExit(f"{recipes} {name} failed:\n{done.stderr[-2000:]}")
        for recipe, figures in json.loads(done.stdout.splitlines()[-1]).items():
            out[recipe][name] = figures
        print(f"{' '.join(recipes)}: {name} took {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
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


def table(job: Job, result: dict[str, Any], memory: bool) -> str:
    """The figures as text; ``memory``: with the peak of every measurement."""
    where = result["machine"]
    head = f"""\
{where["cpu"]}, {where["cores"]} cores, load {where["load"][0]} at the start
Python {where["python"]}, NumPy {where["numpy"]}, Keras {where["keras"]}, TensorFlow {where["tensorflow"]}

Scoring: {job.scored} series x 1 window of {job.window} x {job.features}.
  Keras: one model per series, predict, measured on {job.keras_scored} and scaled.
Training: {job.train_windows} + {job.val_windows} windows per series, batch {job.batch}, rate for \
{job.reference_epochs} epochs ({job.epochs} run), stack of {job.trained}.
  Keras: a new model per series, measured on {job.keras_trained}.
"""
    columns = f"{'stacked':>9}{'Keras':>11}{'ratio':>10}  |"
    lines = [
        head,
        f"{'':9}|{'scoring, us per series':^32}|{'training, series per minute':^32}|{'peak MiB' if memory else ''}",
        f"{'':9}|{columns}{columns}{'  score  Keras  train  Keras' if memory else ''}",
    ]
    for name, found in result["recipes"].items():
        score, predict = (1e6 * found[k]["seconds"] / found[k]["series"] for k in ("scoring-stacked", "scoring-keras"))
        fleet, single = (training.per_minute(job, found[k]) for k in ("training-stacked", "training-keras"))
        peaks = "".join(f"{found[k]['rss_mib']:7.0f}" for k in MEASUREMENTS) if memory else ""
        lines.append(
            f"{name:9}|{score:9.1f}{predict:11.0f}{predict / score:9.0f}x  |{fleet:9.0f}{single:11.1f}"
            f"{fleet / single:9.1f}x  |{peaks}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
