"""The science: arrays in, arrays out. No network, no files, no clock, no metrics.

Serving reaches everything here except :mod:`anomaly_models.keras_training`, the only module that imports TensorFlow.
"""
