"""Complete programs on real input."""
