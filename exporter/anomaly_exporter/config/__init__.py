"""Configuration: a file per section, :mod:`.root` puts them together, :mod:`.load` reads the YAML."""

from .alerting import Alerting
from .base import format_duration, parse_duration
from .canary import CANARY_TAG, CANARY_TARGET, Canary
from .connection import FilesConnection, PrometheusConnection, ScrapeConnection, SimulatorConnection
from .control import Control, Proxy, Role
from .exposition import Exposition, Links
from .feedback import AlertmanagerFeedback, Feedback, GrafanaFeedback, Recurrence, Words
from .launcher import Launcher
from .load import ConfigError, LoadedConfig, json_schema, load, parse, preset_names
from .models import RECIPES, Model
from .overrides import Overrides, overridden, read_overrides
from .remedies import Remedy, default_remedies
from .root import Config
from .routes import MuteWindow, Route, Routing, SecretKey, Slack, Smtp
from .rules import Rules, SeverityStep
from .store import S3Store, Store
from .targets import Query, Target
from .thresholds import Threshold
from .timing import Timing
from .training import Training

__all__ = [
    "CANARY_TAG",
    "CANARY_TARGET",
    "RECIPES",
    "Alerting",
    "AlertmanagerFeedback",
    "Canary",
    "Config",
    "ConfigError",
    "Control",
    "Exposition",
    "Feedback",
    "FilesConnection",
    "GrafanaFeedback",
    "Launcher",
    "Links",
    "LoadedConfig",
    "Model",
    "MuteWindow",
    "Overrides",
    "PrometheusConnection",
    "Proxy",
    "Query",
    "Recurrence",
    "Remedy",
    "Role",
    "Route",
    "Routing",
    "Rules",
    "S3Store",
    "ScrapeConnection",
    "SecretKey",
    "SeverityStep",
    "SimulatorConnection",
    "Slack",
    "Smtp",
    "Store",
    "Target",
    "Threshold",
    "Timing",
    "Training",
    "Words",
    "default_remedies",
    "format_duration",
    "json_schema",
    "load",
    "overridden",
    "parse",
    "parse_duration",
    "preset_names",
    "read_overrides",
]
