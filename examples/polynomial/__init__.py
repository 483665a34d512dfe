"""The parts of `examples/polynomial_inverse.py`."""
