"""Run in a process of its own, for each CPU: error-free sums and products, exponents, compensated Horner.

Exact expectations are fractions. Numbers and vectors take the same bodies and must give the same bits.
"""

from fractions import Fraction

import numpy as np

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore.polynomial.kernels import either, error_free, scaling

LANES = simd.F64_LANES
SIZE = 64


@kernel  # with contract and reassoc: the inlined functions must not mind
def in_numbers(a, b, k, out, exponents):
    for i in range(a.size):
        row = out[i]
        row[0], row[1] = error_free.two_sum(a[i], b[i])
        row[2], row[3] = error_free.two_product(a[i], b[i])
        row[4] = either.fma(a[i], b[i], -row[2])
        row[5] = scaling.scaled(a[i], k[i])
        exponents[i] = scaling.exponent(a[i])


@kernel
def in_vectors(a, b, k, out, exponents):
    base = simd.pointer(out)
    for i in range(0, a.size, LANES):
        x, y = simd.load(simd.advance(simd.pointer(a), i), LANES), simd.load(simd.advance(simd.pointer(b), i), LANES)
        s, e = error_free.two_sum(x, y)
        simd.store(simd.advance(base, i), s)
        simd.store(simd.advance(base, SIZE + i), e)
        p, e = error_free.two_product(x, y)
        simd.store(simd.advance(base, 2 * SIZE + i), p)
        simd.store(simd.advance(base, 3 * SIZE + i), e)
        simd.store(simd.advance(base, 4 * SIZE + i), either.fma(x, y, -p))
        shifts = simd.load(simd.advance(simd.pointer(k), i), LANES)
        simd.store(simd.advance(base, 5 * SIZE + i), scaling.scaled(x, shifts))
        simd.store(simd.advance(simd.pointer(exponents), i), scaling.exponent(x))


@kernel
def double_doubles(a, b, out):
    """a (N, 2) double-doubles, b (N,); out (N, 2)."""
    for i in range(a.shape[0]):
        out[i, 0], out[i, 1] = error_free.dd_multiply_number(a[i, 0], a[i, 1], b[i])


@kernel
def horner_in_numbers(c, x, out):
    for i in range(x.size):
        out[0, i], out[1, i] = error_free.horner_with_bound(c, x[i])
        out[2, i], out[3, i] = error_free.compensated_horner(c, x[i])


@kernel
def horner_in_vectors(c, x, out):
    for i in range(0, x.size, LANES):
        point = simd.load(simd.advance(simd.pointer(x), i), LANES)
        value, bound = error_free.horner_with_bound(c, point)
        simd.store(simd.advance(simd.pointer(out), i), value)
        simd.store(simd.advance(simd.pointer(out), SIZE + i), bound)
        value, bound = error_free.compensated_horner(c, point)
        simd.store(simd.advance(simd.pointer(out), 2 * SIZE + i), value)
        simd.store(simd.advance(simd.pointer(out), 3 * SIZE + i), bound)


def check_transformations(rng):
    a, b = (rng.standard_normal(SIZE) * 10.0 ** rng.integers(-140, 140, SIZE) for _ in range(2))
    b[:16] = -a[:16] * (1 + rng.standard_normal(16) * 1e-15)  # cancels
    a[16:20], b[16:20] = 2.0**53 - 1, (2.0**53 - 1, 3.0, 2.0**-53, -1.0)
    shifts = rng.integers(-400, 400, SIZE)
    numbers, vectors = np.empty((SIZE, 6)), np.empty((6, SIZE))
    exponents, of_vectors = np.empty((2, SIZE), np.int64)
    in_numbers(a, b, shifts, numbers, exponents)
    in_vectors(a, b, shifts, vectors, of_vectors)
    np.testing.assert_array_equal(numbers, vectors.T)
    np.testing.assert_array_equal(exponents, of_vectors)
    for x, y, (s, e, p, f, g, _) in zip(a, b, numbers, strict=True):
        assert s == x + y
        assert Fraction(s) + Fraction(e) == Fraction(x) + Fraction(y)
        assert p == x * y
        assert Fraction(p) + Fraction(f) == Fraction(x) * Fraction(y)
        assert g == f
    np.testing.assert_array_equal(numbers[:, 5], np.ldexp(a, shifts))
    np.testing.assert_array_equal(exponents, np.frexp(a)[1] - 1)


def check_double_doubles(rng):
    high = rng.standard_normal(150) * 10.0 ** rng.integers(-30, 30, 150)
    a = np.stack([high, high * rng.uniform(-1, 1, 150) * 2.0**-54], -1)
    b = rng.standard_normal(150) * 10.0 ** rng.integers(-30, 30, 150)
    out = np.empty((150, 2))
    double_doubles(a, b, out)
    for x, y, result in zip(a, b, out, strict=True):
        truth = sum(map(Fraction, x)) * Fraction(y)
        assert abs(sum(map(Fraction, result)) - truth) <= 3 * Fraction(1, 2**106) * abs(truth)


def exact_value(c, x):
    result = Fraction(0)
    for coefficient in c[::-1]:
        result = result * Fraction(x) + Fraction(coefficient)
    return result


def check_horner(c, x):
    numbers, vectors = np.empty((2, 4, SIZE))
    horner_in_numbers(c, x, numbers)
    horner_in_vectors(c, x, vectors)
    np.testing.assert_array_equal(numbers, vectors)
    for point, plain, plain_bound, value, bound in zip(x, *numbers, strict=True):
        truth = exact_value(c, point)
        assert abs(Fraction(plain) - truth) <= Fraction(plain_bound)
        error = abs(Fraction(value) - truth)
        assert error <= Fraction(bound)
        condition = exact_value(abs(c), abs(point)) * 4 * len(c) ** 2
        assert error <= Fraction(1, 2**53) * abs(truth) + Fraction(1, 2**106) * condition + Fraction(1, 2**1054)


def main():
    rng = np.random.default_rng(5)
    check_transformations(rng)
    check_double_doubles(rng)
    for degree in (0, 1, 2, 12):
        check_horner(rng.standard_normal(degree + 1), rng.uniform(-3, 3, SIZE))
    check_horner(np.poly(np.arange(1.0, 21.0))[::-1].copy(), np.linspace(0.9, 20.2, SIZE))  # Wilkinson's
    check_horner(np.poly(np.full(12, 1.0))[::-1].copy(), 1 + np.linspace(-1e-2, 1e-2, SIZE))
    small = rng.standard_normal(6) * 1e-290
    check_horner(small, rng.uniform(-1, 1, SIZE) * 1e-9)  # products below the normal range
    check_horner(small, rng.uniform(-1, 1, SIZE) * 1e9)
    print("ok")


main()
