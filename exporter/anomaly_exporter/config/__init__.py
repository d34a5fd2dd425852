"""Configuration: a file per section, :mod:`.root` puts them together, :mod:`.load` reads the YAML."""

from .alerting import Alerting
from .base import format_duration, parse_duration
from .budget import Budget, BudgetOverride
from .canary import CANARY_TAG, CANARY_TARGET, Canary
from .conditions import HoldOn, Regime, Valid
from .connection import FilesConnection, PrometheusConnection, ScrapeConnection, SimulatorConnection
from .control import Control, Proxy, Role
from .exposition import Exposition, Links
from .feedback import AlertmanagerFeedback, Feedback, GrafanaFeedback, Recurrence, Words
from .gate import Gate
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
    "Budget",
    "BudgetOverride",
    "Canary",
    "Config",
    "ConfigError",
    "Control",
    "Exposition",
    "Feedback",
    "FilesConnection",
    "Gate",
    "GrafanaFeedback",
    "HoldOn",
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
    "Regime",
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
    "Valid",
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
