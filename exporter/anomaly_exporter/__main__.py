"""``python -m anomaly_exporter``: the same as the command ``anomaly-exporter``."""

from .cli import main

if __name__ == "__main__":
    main()
