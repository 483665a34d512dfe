"""Ground floor: what every kernel stands on. Imports Numba, NumPy and the standard library only."""
