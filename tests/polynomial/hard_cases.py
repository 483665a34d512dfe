"""Polynomials that are hard to solve, and what is true of them: roots of the float64 coefficients exactly as stored.

A coefficient of float64 is an integer times a power of two, so each polynomial here is one with integer coefficients,
and FLINT isolates its roots with proof: disjoint balls, multiplicities, real roots told from almost real ones. Errors
are computed in ball arithmetic too, and come back as upper bounds.

`HARD` holds what has roots, by name; `NOT_FINITE`, `ZERO` and `CONSTANT` what has none. All are 1-D float64, ascending.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from flint import acb, arb, ctx, fmpz, fmpz_poly

UNIT = 2.0**-53  # u, the unit roundoff of float64
ROOT_BITS = 200  # of the certified roots, real and imaginary part each
WORK_BITS = 400  # of sums: they cancel to u**2 of their terms and further


class CertifiedRoot(NamedTuple):
    """A ball (its radius below 2**-190 of each part) with exactly one root in it, and that root's multiplicity."""

    ball: Any  # flint.acb, or flint.arb of certified_real_roots
    multiplicity: int


def as_integers(c, y: float = 0.0) -> fmpz_poly:
    """The float64 polynomial less y, times a power of two: the same roots, exactly."""
    mantissas, exponents = np.frexp(np.array([*c, y], np.float64))
    lowest = min((int(e) for m, e in zip(mantissas, exponents) if m), default=0)
    scaled = [fmpz(int(m * 2.0**53)) << int(e) - lowest if m else fmpz(0) for m, e in zip(mantissas, exponents)]
    return fmpz_poly([scaled[0] - scaled[-1], *scaled[1:-1]])


@cache
def _roots_of(coefficients: bytes, y: float, derivative: int) -> tuple[CertifiedRoot, ...]:
    with ctx.workprec(ROOT_BITS):
        polynomial = as_integers(np.frombuffer(coefficients), y)
        for _ in range(derivative):
            polynomial = polynomial.derivative()
        # FLINT searches for roots of zero, of which there are all.
        found = polynomial.complex_roots() if polynomial.degree() > 0 else []
        return tuple(CertifiedRoot(acb(ball), int(multiplicity)) for ball, multiplicity in found)


def certified_roots(c, y: float = 0.0, *, derivative: int = 0) -> tuple[CertifiedRoot, ...]:
    """The distinct complex roots of P - y, or of a derivative; multiplicities sum to its true degree."""
    return _roots_of(np.ascontiguousarray(c, np.float64).tobytes(), float(y), derivative)


def certified_real_roots(
    c, low: float = -np.inf, high: float = np.inf, *, y: float = 0.0, derivative: int = 0
) -> tuple[CertifiedRoot, ...]:
    """The distinct real roots in [low, high], ascending. FLINT gives these, and no others, an imaginary part of 0."""
    every = certified_roots(c, y, derivative=derivative)
    real = [CertifiedRoot(root.ball.real, root.multiplicity) for root in every if root.ball.imag == 0]
    inside = [root for root in real if not (root.ball < arb(low) or root.ball > arb(high))]
    return tuple(sorted(inside, key=lambda root: root.ball.mid().fmpq()))


def _upper(x: arb) -> float:
    """The least float64 that is not below the ball."""
    value = float(x.upper())
    return value if not arb(value) < x.upper() else float(np.nextafter(value, np.inf))


def _point(z) -> acb:
    return acb(float(np.real(z)), float(np.imag(z)))


def value_and_terms(c, z) -> tuple[acb, arb]:
    """P(z) and the sum of |c_k| |z|**k, as balls of the working precision."""
    point = _point(z)
    value, terms, absolute = acb(0), arb(0), abs(point.real if point.imag == 0 else point)
    for coefficient in map(_point, np.asarray(c)[::-1]):
        value = value * point + coefficient
        terms = terms * absolute + abs(coefficient)
    return value, terms


def componentwise_backward_error(c, z) -> np.ndarray:
    """The least e for which z is a root of coefficients c_k (1 + e_k), |e_k| <= e: |P(z)| / sum |c_k| |z|**k.

    Shape of z. Upper bounds within 1 part in 2**50; NaN for z that is NaN, and for z = inf, 0 where the leading
    coefficient is 0 and 1 where it is not. c may be complex.
    """

    def error(point: complex) -> float:
        if np.isnan(point):
            return np.nan
        if np.isinf(point):
            return float(np.asarray(c)[-1] != 0)
        value, terms = value_and_terms(c, point)
        return 0.0 if value == 0 else _upper(abs(value) / terms)

    with ctx.workprec(WORK_BITS):
        return np.array([error(point) for point in np.ravel(z)]).reshape(np.shape(z))


def condition(c, root: CertifiedRoot, *, terms_of=None) -> float:
    """Relative change of a simple root for a componentwise relative change of c: sum |c_k z**k| / |z P'(z)|.

    inf for a multiple root and for a root at 0, which moves by an absolute amount. `terms_of`: what c_k are changed by.
    """
    if root.multiplicity > 1 or root.ball == 0:
        return np.inf
    with ctx.workprec(WORK_BITS):
        z = acb(root.ball)
        slope, terms, absolute = acb(0), arb(0), abs(z)
        changes = c if terms_of is None else terms_of
        for power, coefficient, change in reversed(list(zip(range(len(c)), map(float, c), map(float, changes)))):
            slope = slope * z + power * arb(coefficient)  # z P'(z)
            terms = terms * absolute + abs(arb(change))
        return _upper(terms / abs(slope))


def absolute_value(c, x, y: float = 0.0) -> np.ndarray:
    """|P(x) - y| to float64, shape of x; upper bounds."""
    with ctx.workprec(WORK_BITS):
        shifted = [arb(float(coefficient)) for coefficient in c]
        shifted[0] -= arb(float(y))

        def one(point: float) -> float:
            value = arb(0)
            for coefficient in reversed(shifted):
                value = value * arb(float(point)) + coefficient
            return _upper(abs(value))

        return np.array([one(point) if np.isfinite(point) else np.nan for point in np.ravel(x)]).reshape(np.shape(x))


def distance_to(root: CertifiedRoot, z) -> float:
    """|z - root|, an upper bound within 2**-140 of the root; z float or complex."""
    with ctx.workprec(WORK_BITS):
        return _upper(abs(acb(root.ball) - _point(z)))


def relative_distance_to(root: CertifiedRoot, z) -> float:
    """|z - root| / |root|; inf for a root at 0 that z is not."""
    with ctx.workprec(WORK_BITS):
        difference = abs(acb(root.ball) - _point(z))
        if difference == 0:
            return 0.0
        return np.inf if root.ball == 0 else _upper(difference / abs(root.ball))


def nearest_root(c, z, y: float = 0.0) -> tuple[CertifiedRoot, float]:
    """The certified root of P - y nearest to z, and an upper bound of its distance."""
    roots = certified_roots(c, y)
    distances = [distance_to(root, z) for root in roots]
    number = int(np.argmin(distances))
    return roots[number], distances[number]


def from_integer_roots(*roots: int) -> fmpz_poly:
    product = fmpz_poly([1])
    for root in roots:
        product *= fmpz_poly([-root, 1])
    return product


def rounded(polynomial: fmpz_poly) -> np.ndarray:
    """Integer coefficients as the nearest float64."""
    return np.array([float(int(coefficient)) for coefficient in polynomial.coeffs()])


def from_roots(roots) -> np.ndarray:
    """The float64 nearest to the coefficients of prod (x - r) for float64 r: their roots are near r, not r."""
    with ctx.workprec(8 * WORK_BITS):
        product = [arb(1)]
        for root in map(float, roots):
            lifted, scaled = [arb(0), *product], [*(coefficient * arb(-root) for coefficient in product), arb(0)]
            product = [a + b for a, b in zip(lifted, scaled, strict=True)]
        return np.array([float(coefficient) for coefficient in product])


def _mignotte(n: int, a: int) -> np.ndarray:
    """x**n - 2 (a x - 1)**2: two real roots about a**(-n / 2 - 1) apart near 1 / a."""
    square = fmpz_poly([-1, a]) ** 2
    return rounded(fmpz_poly([0, 1]) ** n - square * 2)


def _random(seed: int, degree: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(degree + 1)


def _spread(c: np.ndarray, decades: float) -> np.ndarray:
    """P(10**s x): coefficients over `decades` decades."""
    return c * 10.0 ** np.linspace(-decades / 2, decades / 2, len(c))


def _classical() -> dict[str, np.ndarray]:
    wilkinson = from_integer_roots(*range(1, 21))
    factorial = np.cumprod([1.0, *range(1, 21)])
    return {
        "Wilkinson 10": rounded(from_integer_roots(*range(1, 11))),
        "Wilkinson 20": rounded(wilkinson),
        "Wilkinson 20, in powers of 2": from_roots(2.0 ** -np.arange(1, 21)),
        "Wilkinson 20 on [0, 1]": from_roots(np.arange(1, 21) / 20),
        "Wilkinson 20, odd": rounded(from_integer_roots(*range(-10, 11))),
        "Chebyshev T20": rounded(fmpz_poly.chebyshev_t(20)),
        "Chebyshev T40": rounded(fmpz_poly.chebyshev_t(40)),
        "Chebyshev U21": rounded(fmpz_poly.chebyshev_u(21)),
        "Legendre 20": np.polynomial.legendre.leg2poly([0] * 20 + [1]),
        "Laguerre 15": np.polynomial.laguerre.lag2poly([0] * 15 + [1]),
        "Hermite 20": np.polynomial.hermite.herm2poly([0] * 20 + [1]),
        "exponential series 20": 1 / factorial,
        "geometric series 20": np.ones(21),
        "Mignotte 10, 10": _mignotte(10, 10),
        "Mignotte 17, 5": _mignotte(17, 5),
        "Mignotte 20, 100": _mignotte(20, 100),
        "source, degree 10": np.array([0, *SOURCE[::-1]]),
        "source, degree 9": np.array(SOURCE[::-1]),
    }


SOURCE = [0.32, -1.233, 9.11, -2.32, 17.0, 44.121, -12.322, 0.3423, 1.283, 10.238723]


def _multiple() -> dict[str, np.ndarray]:
    one, two = fmpz_poly([-1, 1]), fmpz_poly([-2, 0, 1])
    cases = {f"(x - 1)^{k}": rounded(one**k) for k in range(2, 11)}
    return cases | {
        "(x + 3)^6": rounded(fmpz_poly([3, 1]) ** 6),
        "(x - 1)^7 (x + 1)^3 x^2": rounded(one**7 * fmpz_poly([1, 1]) ** 3 * fmpz_poly([0, 0, 1])),
        "(x^2 - 2)^2": rounded(two**2),
        "(x^2 - 2)^3 (x - 1)": rounded(two**3 * one),
        "(x^2 + 1)^3": rounded(fmpz_poly([1, 0, 1]) ** 3),
        "(x^2 + x + 1)^2 (x - 4)": rounded(fmpz_poly([1, 1, 1]) ** 2 * fmpz_poly([-4, 1])),
        "double roots 1 2 3 4 5": rounded(from_integer_roots(1, 2, 3, 4, 5) ** 2),
        "double roots -2 -1 0 1 2": rounded(from_integer_roots(-2, -1, 0, 1, 2) ** 2),
        "(3 x - 1)^5": rounded(fmpz_poly([-1, 3]) ** 5),
        "(x - 1/3)^4, rounded": from_roots([1 / 3] * 4),
        "(x - 0.1)^2 (x - 0.7)^2, rounded": from_roots([0.1, 0.1, 0.7, 0.7]),
        "touches 0 from above by 1e-15": np.array([1 + 1e-15, -2.0, 1.0]),
        "crosses 0 twice by 1e-15": np.array([1 - 1e-15, -2.0, 1.0]),
        "touches 0 from above, degree 6": rounded(from_integer_roots(1, 2, 3) ** 2) + np.eye(7)[0] * 1e-12,
    }


def _clusters() -> dict[str, np.ndarray]:
    return {
        "cluster of 3, 1e-3": from_roots([1, 1.001, 1.002, -2, 5]),
        "cluster of 3, 1e-6": from_roots([0.5, 0.500001, 0.500002, -2, 5]),
        "cluster of 2, 1e-8": from_roots([1, 1 + 1e-8, 3]),
        "clusters near 1 and -1": from_roots([1, 1.0001, 1.0002, -1, -1.0001, 2]),
        "cluster near 0": from_roots([1e-9, 2e-9, 3e-9, 1, 2]),
        "roots k / 1024": from_roots(np.arange(-4, 5) / 1024),
        "one root far away": from_roots([1, 2, 3, 1e12]),
        "three sizes": from_roots([1e-8, 2e-8, 1, 2, 1e8, 2e8]),
        "nearly equal roots of a quadratic": np.array([94906265.625 * 2 - 94906268.375, -2 * 94906267.0, 94906268.375]),
        "almost real pair": rounded(fmpz_poly([10**12 + 1, -2 * 10**6, 1])),
    }


def _ranges() -> dict[str, np.ndarray]:
    ten = _random(1, 10)
    return {
        "roots 1e-50 to 1e50": from_roots(10.0 ** np.arange(-50, 51, 10)),
        "roots ±1e-50 to ±1e50": from_roots(np.outer(10.0 ** np.arange(-50, 51, 25), [1, -1]).ravel()),
        "roots 1e-24 to 1e24": from_roots(10.0 ** np.arange(-24, 25, 4)),
        "roots near 1e50": from_roots(1e50 * np.arange(1, 6)),
        "roots near 1e-50": from_roots(1e-50 * np.arange(1, 6)),
        "random 10, times 1e150": ten * 1e150,
        "random 10, times 1e-150": ten * 1e-150,
        "random 10, times 1e307": ten / np.abs(ten).max() * 1.7e308,
        "random 10, times 1e-305": ten * 1e-305,
        "random 10, 1e-150 to 1e150": _spread(ten, 300),
        "random 10, 1e150 to 1e-150": _spread(ten, -300),
        "random 10, each 1e±150": ten * 10.0 ** np.random.default_rng(2).uniform(-150, 150, 11),
        "random 20, each 1e±150": _random(3, 20) * 10.0 ** np.random.default_rng(4).uniform(-150, 150, 21),
        "Wilkinson 20, times 1e150": rounded(from_integer_roots(*range(1, 21))) * 1e150,
        "Wilkinson 10, times 2^-1000": rounded(from_integer_roots(*range(1, 11))) * 2.0**-1000,
        "quadratic, discriminant overflows": np.array([1e200, -3e200, 2e200]),
        "quadratic, discriminant underflows": np.array([1e-200, -3e-200, 2e-200]),
        "quadratic, roots 1e-150 and 1e150": np.array([1.0, -1e150, 1.0]),
        "quadratic, subnormal coefficients": np.array([1e-310, -5e-310, 2e-310]),
        "linear, subnormal slope": np.array([-3e-310, 2e-310]),
        "linear, 1e150 over 1e-150": np.array([1e150, 1e-150]),
        "a constant term of 5e-324": np.array([5e-324, 1.0, -3.0, 2.0]),
    }


def _structured() -> dict[str, np.ndarray]:
    return {
        "x^8 - 1": np.array([-1.0, *[0] * 7, 1]),
        "x^15 - 1": np.array([-1.0, *[0] * 14, 1]),
        "x^20 + 1": np.array([1.0, *[0] * 19, 1]),
        "x^12 - 2": np.array([-2.0, *[0] * 11, 1]),
        "x^10 - 1e-100": np.array([-1e-100, *[0] * 9, 1]),
        "dyadic roots 0 ±1 1/2": from_roots([0, 1, -1, 0.5]),
        "dyadic roots -2 to 2 by 1/4": from_roots(np.arange(-8, 9) / 4),
        "dyadic roots 1 2 4 8 1/2 1/4 1/8": from_roots(2.0 ** np.arange(-3, 4)),
        "dyadic root 1/2 alone": np.array([-1.0, 2, -1, 2]),
        "roots at 3/4 and 3/8 and -3/2": from_roots([0.75, 0.375, -1.5]),
        "even, degree 10": _interleaved(_random(5, 5), 0),
        "odd, degree 11": _interleaved(_random(6, 5), 1),
        "even, all roots real": from_roots([-3, -2, -1, 1, 2, 3]),
        "even, no real root": np.array([3.0, 0, 1, 0, 2, 0, 1]),
        "no real root, degree 10": _interleaved(np.abs(_random(7, 5)) + 0.1, 0),
        "two leading zeros": np.array([-6.0, 11, -6, 1, 0, 0]),
        "two trailing zeros": np.array([0.0, 0, -6, 11, -6, 1]),
        "leading and trailing zeros": np.array([0.0, 0, 2, -3, 1, 0, 0, 0]),
        "x^5": np.array([0.0, 0, 0, 0, 0, 2]),
        "x^5, leading zero": np.array([0.0, 0, 0, 0, 0, 2, 0]),
        "x": np.array([0.0, 1]),
        "-0 among the coefficients": np.array([-0.0, 2, -0.0, -1, -0.0]),
        "linear": np.array([3.0, -7.0]),
        "linear with leading zeros": np.array([3.0, -7.0, 0, 0]),
        "quadratic, real": np.array([1.0, -1e8, 1.0]),
        "quadratic, complex": np.array([1.0, 1, 1]),
        "quadratic, double": np.array([0.25, -1, 1]),
        "cubic, one real": np.array([-1.0, 1, -1, 2]),
        "signs": np.random.default_rng(8).choice([-1.0, 1.0], 31),
        "few terms": np.eye(26)[0] - 3 * np.eye(26)[7] + np.eye(26)[25],
    }


def _interleaved(c: np.ndarray, odd: int) -> np.ndarray:
    result = np.zeros(2 * len(c) - 1 + odd)
    result[odd::2] = c
    return result


def _families() -> dict[str, np.ndarray]:
    cases = {f"random {n}, {seed}": _random(100 * n + seed, n) for n in (3, 5, 10, 20, 40) for seed in range(3)}
    for n in (5, 10, 15):
        cases[f"real roots in [-1, 1], {n}"] = from_roots(np.random.default_rng(n).uniform(-1, 1, n))
        cases[f"integer coefficients, {n}"] = np.random.default_rng(n).integers(-9, 10, n + 1) + 0.0
    return cases


FAMILIES = {
    "classical": _classical(),
    "multiple": _multiple(),
    "clusters": _clusters(),
    "ranges": _ranges(),
    "structured": _structured(),
    "random": _families(),
}
HARD = {name: c for cases in FAMILIES.values() for name, c in cases.items()}

# Its fourth root, -2e323, is no float64.
ROOT_BEYOND_RANGE = {"a leading coefficient of 5e-324": np.array([-6.0, 11.0, -6.0, 1.0, 5e-324])}
NOT_FINITE = {
    "NaN first": np.array([np.nan, 1.0, 2.0]),
    "NaN last": np.array([1.0, 1.0, np.nan]),
    "inf last": np.array([1.0, 1.0, np.inf]),
    "-inf first": np.array([-np.inf, 1.0, 1.0]),
    "NaN and inf, degree 10": np.array([1.0, np.nan, 3, 4, -np.inf, 6, 7, 8, 9, 10, 11]),
    "NaN alone": np.array([np.nan]),
    "inf among zeros": np.array([0.0, np.inf, 0.0]),
}
ZERO = {
    "zero": np.zeros(1),
    "zero, three coefficients": np.zeros(3),
    "zero, -0": np.array([-0.0, 0.0, -0.0]),
    "zero, eleven coefficients": np.zeros(11),
}
CONSTANT = {
    "constant": np.array([3.0]),
    "constant, leading zeros": np.array([-2.0, 0, 0, 0]),
    "constant, 5e-324": np.array([5e-324]),
}
