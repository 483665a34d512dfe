"""Expected mutual information against exact sums."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cluster as sklearn_cluster

import fastcore
from fastcore.metrics import expected_mutual_information
from fastcore.metrics.kernels import expected_mutual_information as kernels
from fastcore.reference import metrics_clustering as reference


def exact(sizes_a, sizes_b, total):
    """The definition, probabilities as fractions, terms added without rounding."""
    terms = []
    for a in map(int, sizes_a):
        for b in map(int, sizes_b):
            for n in range(max(1, a + b - total), min(a, b) + 1):
                p = Fraction(math.comb(b, n) * math.comb(total - b, a - n), math.comb(total, a))
                quotient = Fraction(total * n, a * b)
                log = math.log1p(float(quotient - 1)) if 0.5 < quotient < 2 else math.log(quotient)
                terms.append(float(p * n / total) * log)
    return math.fsum(terms)


def with_sums(rows, cols):
    """A matrix whose rows and columns have these sums; its cells may be negative, which nothing depends on."""
    cells = np.zeros((len(rows), len(cols)), np.int64)
    cells[:, 0], cells[0] = rows, cols
    cells[0, 0] = rows[0] - (np.sum(cols[1:]))
    return cells


def sizes_of(draw, total):
    """Positive sizes with this sum: even, or as uneven as can be."""
    cuts = draw(st.lists(st.integers(1, max(total - 1, 1)), max_size=12, unique=True))
    return np.diff(np.array(sorted({0, total, *(c for c in cuts if c < total)})))


@st.composite
def marginals(draw):
    total = draw(st.integers(1, 300))
    return sizes_of(draw, total), sizes_of(draw, total), total


@given(marginals())
def test_expected_mutual_information_is_exact(case):
    rows, cols, total = case
    got = expected_mutual_information(with_sums(rows, cols), total)
    assert got == pytest.approx(exact(rows, cols, total), rel=0, abs=1e-15)
    if len(rows) > 1 and len(cols) > 1:
        want = reference.expected_mutual_information(with_sums(rows, cols), total)
        assert got == pytest.approx(want, rel=0, abs=1e-12)


@given(marginals())
def test_expected_mutual_information_inside_of_a_score_is_the_same(case):
    """To the last bit, so that scores do not depend on the way they were computed."""
    rows, cols, total = case
    rows, cols = rows.astype(float), cols.astype(float)
    got = kernels.expected_if_little(rows, cols, float(total), kernels.log_table(), np.inf)
    assert got == kernels.expected_mutual_information(rows, cols, total)


@pytest.mark.parametrize("total, clusters", [(1000, 30), (100_000, 3), (1_000_000, 2)])
def test_expected_mutual_information_equals_scikit_learns(rng, total, clusters):
    """At 1e6 samples scikit-learn's differences of lgamma leave it 1e-11: the exact value there is ours."""
    rows, cols = (np.bincount(rng.integers(0, clusters, total)) for _ in range(2))
    got = expected_mutual_information(with_sums(rows, cols), total)
    want = sklearn_cluster.expected_mutual_information(with_sums(rows, cols), total)
    assert got == pytest.approx(want, rel=0, abs=1e-12 if total < 10**6 else 1e-10)


@pytest.mark.parametrize("rows, cols", [((10**6, 3, 1), (10**6 - 1, 5)), ((10**6, 10**6), (5, 10**6, 10**6 - 5))])
def test_expected_mutual_information_of_uneven_sizes_is_exact(rows, cols):
    """Lanes whose modes are far apart do not go together; clusters of nearly all samples share most of them."""
    total = sum(rows)
    got = kernels.expected_mutual_information(np.array(rows, float), np.array(cols, float), total)
    want = reference.expected_mutual_information(with_sums(rows, cols), total)
    assert got == pytest.approx(want, rel=0, abs=1e-12)


def test_expected_mutual_information_of_large_clusterings_is_that_of_chi_squared():
    """(K - 1)(L - 1) / 2N, but for terms in 1 / N**2: 2**40 samples, where lgamma has no digit left."""
    total = 2**40
    sizes = np.array([total // 4, total // 4, total // 2], float)
    got = kernels.expected_mutual_information(sizes, sizes, total)
    assert got == pytest.approx(4 / (2 * total), rel=0, abs=1e-15)


def test_expected_mutual_information_one_thread_equals_many(rng):
    rows, cols = (rng.multinomial(10**6, rng.dirichlet(np.ones(300))) for _ in range(2))
    rows, cols = rows[rows > 0].astype(float), cols[cols > 0].astype(float)
    many = kernels.expected_mutual_information(rows, cols, 10**6)
    with fastcore.num_threads(1):
        assert kernels.expected_mutual_information(rows, cols, 10**6) == many
    assert kernels.expected_mutual_information(cols, rows, 10**6) == pytest.approx(many, rel=0, abs=1e-15)


def test_expected_mutual_information_takes_any_matrix():
    from scipy.sparse import coo_array, csr_matrix

    cells = np.array([[3, 0, 4], [0, 0, 0], [5, 0, 6]])
    want = exact([7, 11], [8, 10], 18)
    for matrix in (cells, cells.tolist(), cells.astype(np.float32), csr_matrix(cells), coo_array(cells), cells.T):
        assert expected_mutual_information(matrix, 18) == pytest.approx(want, abs=1e-15)
    assert expected_mutual_information(cells, 18.0) == expected_mutual_information(cells, np.int8(18))
    assert expected_mutual_information(cells[:, :1], 18) == expected_mutual_information(cells[:1], 18) == 0.0
    assert expected_mutual_information(np.zeros((0, 0)), 0) == expected_mutual_information(cells * 0, 0) == 0.0
    # More samples than the matrix holds: the formula does not mind.
    want = sklearn_cluster.expected_mutual_information(cells[::2, ::2], 100)
    assert expected_mutual_information(cells, 100) == pytest.approx(want, abs=1e-13)


@pytest.mark.parametrize(
    "cells, samples, error, message",
    [
        ([[3, 4], [5, 6]], 10, ValueError, r"n_samples must be at least .* 11\. Got 10\. Pass contingency.sum\(\)"),
        ([[3, 4], [5, 6]], None, TypeError, "n_samples must be an integer. Got None"),
        ([[3, 4], [5, 6]], np.inf, ValueError, "n_samples must be an integer. Got inf"),
        ([[3, -4], [5, 6]], 10, ValueError, "a row or a column has a negative sum"),
        ([3, 4], 7, ValueError, r"contingency must be a matrix of counts. Got shape \(2,\)"),
        ([["a"]], 7, ValueError, "contingency must be a matrix of counts"),
    ],
)
def test_expected_mutual_information_wrong_argument_raises(cells, samples, error, message):
    with pytest.raises(error, match=message):
        expected_mutual_information(cells, samples)
