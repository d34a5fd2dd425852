"""Write the dashboards: ``python -m dashboards [--check] [--profile kps|openshift] [--out FOLDER]``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .promql import Labels
from .render import FOLDER, files


def main(arguments: list[str]) -> int:
    """Write stale files; with ``--check`` only name them and return 1."""
    parser = argparse.ArgumentParser(prog="python -m dashboards", description="Write the Grafana dashboards as JSON.")
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 when a file is stale")
    parser.add_argument("--profile", choices=("kps", "openshift"), default="kps", help="names of the labels")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder for the JSON files")
    chosen = parser.parse_args(arguments)
    made = {chosen.out / name: text for name, text in files(Labels.of(chosen.profile)).items()}
    stale = {path: text for path, text in made.items() if not path.exists() or path.read_text("utf-8") != text}
    for path, text in stale.items():
        print(f"{path}: {'stale, run `make dashboards`' if chosen.check else 'written'}")
        if not chosen.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return 1 if stale and chosen.check else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
