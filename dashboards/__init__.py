"""The Grafana dashboards as code: ``python -m dashboards`` writes the JSON files that stand beside this package.

One module per dashboard; ``promql`` builds the queries, ``fields`` what values look like, ``panels`` panels, ``board``
puts panels, variables, annotations and links together. Classic dashboards (schema version 42 and below) of core panels.
"""

from .render import FOLDER, boards, files

__all__ = ["FOLDER", "boards", "files"]
