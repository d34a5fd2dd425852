"""Detect anomalies in a notebook: fit on history, score what came after, keep the model for later.

    python examples/detect_in_a_notebook.py [recipe]

``recipe`` is ``pca`` unless given; ``fc``, ``cnn``, ``lstm``, ``gru``, ``cnn_lstm`` and ``cnn_gru`` train an
autoencoder and need ``pip install 'anomaly-exporter[train-cpu]'``.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from anomaly_models.estimator import AnomalyDetector

DAY = 86_400

# Three days of a container's CPU, a sample a minute: a daily wave, some noise.
time = np.arange(3 * 1440) * 60
cpu = 0.8 + 0.4 * np.sin(2 * np.pi * time / DAY) + 0.02 * np.random.default_rng(7).normal(size=time.size)

# In the last hour a thread starts to spin: a third of a core more, far below the daily maximum.
cpu[-30:] += 0.33

history, today = cpu[: -6 * 60], cpu[-6 * 60 :]
detector = AnomalyDetector(sys.argv[1] if len(sys.argv) > 1 else "pca", window=24)
detector.fit(history, step=60, start=0)
print(f"threshold {detector.threshold_:.2f} scales; R2 on held-out data {detector.quality_['test']['r2']:.2f}")

score = detector.score(today)
expected = detector.reconstruct(today)
first = int(np.argmax(score >= 1))
print(f"{int((score >= 1).sum())} of {score.size} samples are anomalous, the first is sample {first}:")
print(f"observed {today[first]:.2f}, expected {expected[first]:.2f} cores, score {score[first]:.1f}")

with tempfile.TemporaryDirectory() as folder:
    detector.save(Path(folder) / "cpu")
    again = AnomalyDetector.load(Path(folder) / "cpu")
    print(
        "saved and loaded:", "same scores" if np.array_equal(again.score(today), score, equal_nan=True) else "differs"
    )
