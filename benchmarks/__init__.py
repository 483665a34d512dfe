"""Benchmarks of fastcore against NumPy and the libraries it replaces.

`registry` holds what a case is, `cases/` the cases (one file for each domain of the package), `peers/` how each other
library is set up. Three front ends read the registry: `runner` (`python -m fastcore bench`), `compare/`
(pytest-benchmark) and `suite/` (asv). NumPy is imported by none of the modules that `runner` loads before it has set
the environment up.
"""
