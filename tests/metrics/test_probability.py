"""Log loss and Brier score against scikit-learn, the twin and exact sums."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
import sklearn.metrics as theirs
from hypothesis import given
from hypothesis import strategies as st

import fastcore
from fastcore.metrics import brier_score_loss, log_loss
from fastcore.metrics.kernels import probability as kernels
from fastcore.reference import metrics_ranking as reference
from tests.metrics.ranking_cases import CONTAINERS, LABELS, WEIGHTS, assert_same, cases, contained, probabilities_of

# scikit-learn computes in the dtype of the probabilities, fastcore in float64: its rounding, not ours, sets the bound.
TOLERANCE = {"float32": 1e-5, "float16": 0.1}


def inputs_of(case):
    rng = np.random.default_rng(case["seed"])
    make, pos_label = LABELS[case["labels"]]
    y = make(rng.integers(0, 2, case["size"]))
    weights = WEIGHTS[case["weights"]](rng, case["size"])
    if case["dtype"] == "float16" and weights is not None:
        weights = np.abs(weights)  # of cancelling weights scikit-learn's float16 has no digit right
    p = probabilities_of(rng, case)
    y, p, weights = (contained(*pair) for pair in zip((y, p, weights), case["containers"], strict=True))
    options = {} if weights is None else {"sample_weight": weights}
    if isinstance(p, list | tuple):
        case = case | {"dtype": "float64"}
    return y, p, options, pos_label, TOLERANCE.get(case["dtype"], 1e-12)


@given(cases, st.booleans())
def test_log_loss_of_two_classes_matches_scikit_learn(case, normalize):
    y, p, options, _, tolerance = inputs_of(case)
    tolerance *= 1 if normalize else case["size"]
    assert_same(log_loss, theirs.log_loss, y, p, normalize=normalize, tolerance=tolerance, **options)


@given(cases, st.sampled_from((True, False, "auto")))
def test_brier_score_loss_of_two_classes_matches_scikit_learn(case, scale_by_half):
    y, p, options, pos_label, tolerance = inputs_of(case)
    options |= {"pos_label": pos_label, "scale_by_half": scale_by_half}
    assert_same(brier_score_loss, theirs.brier_score_loss, y, p, tolerance=tolerance, **options)


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from((2, 3, 7)),
    st.sampled_from((3, 20, 2100)),
    st.sampled_from(("int", "shifted", "str", "float", "indicator", "onehot")),
    st.sampled_from(("none", "floats", "some_negative")),
    st.sampled_from(("none", "given", "unordered", "fewer", "other")),
    st.sampled_from(("C", "F", "list")),
    st.sampled_from(("sums", "no_sums")),
    st.sampled_from(("f8", "f4")),
)
def test_losses_of_several_classes_match_scikit_learn(seed, count, size, kind, weights, labels, order, sums, dtype):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, count, size)
    p = rng.dirichlet(np.ones(count), size).astype(dtype)
    if sums == "no_sums":
        p = (p * 0.9).astype(dtype)
    names = {"shifted": np.arange(count) + 5, "str": np.array(list("abcdefg"))[:count], "float": np.arange(count) * 2.0}
    names = names.get(kind, np.arange(count))
    targets = names[y]
    if kind == "indicator":
        targets = rng.integers(0, 2, (size, count))
    elif kind == "onehot":
        targets = np.eye(count, dtype=int)[y]
    choices = {"none": None, "given": names, "unordered": names[::-1].tolist(), "fewer": names[:-1]}
    given_labels = choices.get(labels, ["x", "y", "z"][:count])
    if order == "list":
        p, dtype = p.tolist(), "f8"
    elif order == "F":
        p = np.asfortranarray(p)
    weights = WEIGHTS[weights](rng, size)
    options = {"labels": given_labels} | ({} if weights is None else {"sample_weight": weights})
    tolerance = 1e-12 if dtype == "f8" else 1e-4
    options["words"] = 0 if targets.ndim == 2 else 12  # labels beside an indicator fail there in several ways
    assert_same(log_loss, theirs.log_loss, targets, p, tolerance=tolerance, **options)
    assert_same(brier_score_loss, theirs.brier_score_loss, targets, p, tolerance=tolerance, **options)


@pytest.mark.parametrize("function", [log_loss, brier_score_loss])
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("size", [10, kernels.CHUNK, kernels.CHUNK + 1])
def test_losses_of_any_container_and_dtype_are_bitwise_the_same(rng, function, container, size):
    y, p = rng.integers(0, 2, size), rng.random(size)
    y[:2] = 0, 1
    expected = function(y, p)
    assert function(contained(y, container), contained(p, container)) == expected
    for dtype in ("?", "b", "B", "h", "H", "i", "I", "q", "Q", "f", "d", ">i4", ">f8"):
        assert function(y.astype(dtype), p) == expected
    assert function(y, p.astype(">f8")) == expected


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("loss", [kernels.LOG, kernels.SQUARES])
@pytest.mark.parametrize("weighted", [False, True])
def test_losses_one_thread_equals_many(rng, classes, loss, weighted):
    size = 200_000
    codes, p = rng.integers(0, classes, size), rng.dirichlet(np.ones(classes), size)
    weights = rng.random(size) if weighted else None

    def sums():
        if classes == 2:
            return kernels.two_classes(codes, p[:, 1], weights, 2.0**-52, 1 - 2.0**-52, loss)
        return kernels.many_classes(codes, p, weights, 2.0**-52, 1 - 2.0**-52, loss)[0]

    with fastcore.num_threads(1):
        serial = sums()
    assert sums() == serial


@pytest.mark.parametrize("near", [1e-3, 1e-9, 1e-15])
def test_log_loss_of_good_predictions_keeps_its_digits(rng, near):
    p = near * rng.random(5000)
    y = np.zeros(5000, int)
    y[0], p[0] = 1, 1.0
    exact = math.fsum(-math.log1p(-value) for value in (1 - (1 - p[1:]))) - math.log1p(-(2.0**-52))
    assert log_loss(y, p, normalize=False) == pytest.approx(exact, rel=1e-12)


def test_log_loss_of_wrong_predictions_does_not_underflow():
    p = np.zeros(4096)
    y = np.ones(4096, int)
    y[0] = 0
    assert log_loss(y, p) == pytest.approx(4095 / 4096 * 52 * math.log(2), rel=1e-12)


def test_losses_of_a_million_match_scikit_learn(rng):
    y, p, weights = rng.integers(0, 2, 1_000_000), rng.random(1_000_000), rng.random(1_000_000)
    for options in ({}, {"sample_weight": weights}):
        assert log_loss(y, p, **options) == pytest.approx(theirs.log_loss(y, p, **options), rel=1e-12)
        assert brier_score_loss(y, p, **options) == pytest.approx(theirs.brier_score_loss(y, p, **options), rel=1e-12)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("weighted", [False, True])
def test_losses_match_their_twins(rng, classes, weighted):
    codes, p = rng.integers(0, classes, 3000), rng.dirichlet(np.ones(classes), 3000)
    weights = rng.random(3000) if weighted else None
    expected = reference.log_loss(codes, p, weights)
    assert log_loss(codes, p, sample_weight=weights) == pytest.approx(expected, rel=1e-14)
    expected = reference.brier_score_loss(codes, p, weights)
    assert brier_score_loss(codes, p, sample_weight=weights) == pytest.approx(expected, rel=1e-14)
    if classes == 2:
        expected = reference.log_loss(codes, p[:, 1], weights)
        assert log_loss(codes, p[:, 1], sample_weight=weights) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1.5, -0.5])
@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("function", [log_loss, brier_score_loss])
def test_losses_of_what_is_no_probability_raise(function, columns, bad):
    p = np.array([0.1, bad, 0.3, 0.2])
    p = p if columns == 1 else np.stack([1 - p, p], axis=1)
    with pytest.raises(ValueError, match=r"contains (NaN|infinity|values greater than 1|values le|values lower)"):
        function(np.array([0, 1, 1, 0]), p)


def test_log_loss_weights_that_sum_to_zero_raise():
    for kind in (ZeroDivisionError, ValueError):
        with pytest.raises(kind, match="Weights sum to zero"):
            log_loss([0, 1], [0.2, 0.7], sample_weight=[1.0, -1.0])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"normalize": 1}, "The 'normalize' parameter of log_loss must be"),
        ({"sample_weight": 1.0}, "The 'sample_weight' parameter of log_loss must be"),
        ({"labels": "ab"}, "The 'labels' parameter of log_loss must be"),
        ({"sample_weight": [1.0]}, "Found input variables with inconsistent numbers of samples"),
    ],
)
def test_log_loss_wrong_option_raises(options, message):
    with pytest.raises(ValueError, match=message):
        log_loss(np.array([0, 1]), np.array([0.2, 0.4]), **options)


@pytest.mark.parametrize("options", [{"scale_by_half": "no"}, {"scale_by_half": 1}, {"pos_label": [1]}])
def test_brier_score_loss_wrong_option_raises(options):
    with pytest.raises(ValueError, match="parameter of brier_score_loss must be"):
        brier_score_loss(np.array([0, 1]), np.array([0.2, 0.4]), **options)


WITHOUT_JIT = """
import numpy as np
from fastcore.metrics import average_precision_score, brier_score_loss, log_loss, roc_curve
from fastcore.reference import metrics_ranking as reference
rng = np.random.default_rng(5)
y, p, weights, codes = rng.integers(0, 2, 80), rng.random(80), rng.random(80), rng.integers(0, 3, 80)
table = rng.dirichlet(np.ones(3), 80)
np.testing.assert_allclose(log_loss(y, p), reference.log_loss(y, p), rtol=1e-14)
np.testing.assert_allclose(log_loss(y, p, sample_weight=weights), reference.log_loss(y, p, weights), rtol=1e-14)
np.testing.assert_allclose(brier_score_loss(y.astype("i2"), p), reference.brier_score_loss(y, p), rtol=1e-14)
np.testing.assert_allclose(log_loss(codes, table), reference.log_loss(codes, table), rtol=1e-14)
np.testing.assert_allclose(average_precision_score(y[:9], p[:9]), reference.average_precision_score(y[:9], p[:9]))
np.testing.assert_allclose(roc_curve(y, p)[1], reference.roc_curve(y.astype(np.uint8), p)[1])
"""


def test_ranking_metrics_without_jit_match_their_twins():
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", WITHOUT_JIT], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
