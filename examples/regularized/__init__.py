"""The parts of `examples/regularization.py`."""
