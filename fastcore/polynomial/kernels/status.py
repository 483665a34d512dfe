"""How the search for one solution ended: the numbers that kernels write; `fastcore.polynomial.Status` names them."""

CONVERGED = 0
NO_REAL_SOLUTION = 1
NOT_FINITE = 2
ZERO_POLYNOMIAL = 3
DEGENERATE = 4
TOUCHING = 5
MAX_ITERATIONS = 6
