"""The service around :mod:`anomaly_models`: reads series, trains, scores every interval, exposes gauges."""

__version__ = "0.1.0"
