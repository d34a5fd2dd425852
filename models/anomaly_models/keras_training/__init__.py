"""Training of a fleet in Keras: S models of one architecture as one stacked program. The only importer of TensorFlow.

``stacked`` holds Keras layers with a leading axis S, ``program`` the traced training and validation steps, ``sampling``
which windows a row sees when (NumPy), ``learner`` the loop with early stopping.
"""

from .learner import FitReport, KerasLearner, Progress, RowReport

__all__ = ["FitReport", "KerasLearner", "Progress", "RowReport"]
