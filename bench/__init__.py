"""Measurements: the fleet as one array program against one Keras model per series: ``python -m bench [--quick]``."""
