"""Streams of metrics: what is particular to labels, scores, and moments."""

import numpy as np
import pytest

from fastcore import metrics
from fastcore.metrics import stream
from fastcore.metrics.stream_runs import grouped, joined
from tests.metrics.stream_cases import assert_same


def test_stream_many_small_batches_keep_few_pieces(rng):
    state = stream(metrics.roc_auc_score)
    y, score = rng.integers(0, 2, 6000), rng.random(6000)
    for first in range(0, 6000, 10):
        state.update(y[first : first + 10], score[first : first + 10])
        assert len(state._seen.pieces) < 60
    assert state.result() == metrics.roc_auc_score(y, score)
    assert len(state._seen.pieces) == 1


def test_stream_few_distinct_scores_take_memory_of_these_only(rng):
    state = stream(metrics.average_precision_score)
    for _ in range(40):
        state.update(rng.integers(0, 2, 5000), rng.integers(0, 50, 5000))
    state.result()
    ((_, run),) = state._seen.pieces
    assert run.scores.nbytes + run.counts.nbytes <= 50 * 24


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "u8", "i8", ">f8", "?"])
def test_stream_scores_keep_their_dtype(dtype, rng):
    y, score = rng.integers(0, 2, 300), rng.integers(0, 2 if dtype == "?" else 50, 300).astype(dtype)
    state = stream(metrics.precision_recall_curve).update(y[:100], score[:100]).update(y[100:], score[100:])
    assert_same(state.result(), metrics.precision_recall_curve(y, score))


def test_stream_integer_scores_beyond_float64_are_told_apart():
    y, score = np.array([0, 1, 0, 1]), np.array([2**60, 2**60 + 1, 2**60 + 2, 3])
    state = stream(metrics.roc_auc_score).update(y[:2], score[:2]).update(y[2:], score[2:])
    assert state.result() == metrics.roc_auc_score(y, score) == 0.25
    curve = stream(metrics.precision_recall_curve).update(y[3:], score[3:]).update(y[:3], score[:3])
    assert_same(curve.result(), metrics.precision_recall_curve(y, score))
    state.update([0], [0.5])  # beside floats they are floats, as in one array
    assert state.result() == metrics.roc_auc_score([*y, 0], np.append(score, 0.5))


def test_stream_classes_that_come_one_by_one():
    state = stream(metrics.roc_auc_score)
    for label, score in (("yes", 0.9), ("yes", 0.2), ("no", 0.3), ("yes", 0.8), ("no", 0.1)):
        state.update([label], [score])
    assert state.result() == metrics.roc_auc_score(["yes", "yes", "no", "yes", "no"], [0.9, 0.2, 0.3, 0.8, 0.1])
    one = stream(metrics.roc_auc_score).update([1], [0.5])
    with pytest.warns(metrics.UndefinedMetricWarning, match="Only one class"):
        assert np.isnan(one.result())


def test_stream_labels_of_several_kinds_of_number():
    batches = [(np.array([True, False]), [1, 1]), ([2.0, 0.0], [2, 1]), (np.array([2**40], "u8"), np.array([3], "i1"))]
    state = stream(metrics.confusion_matrix)
    for batch in batches:
        state.update(*batch)
    want = metrics.confusion_matrix([1, 0, 2, 0, 2**40], [1, 1, 2, 1, 3])
    np.testing.assert_array_equal(state.result(), want)


def test_stream_weights_keep_labels_that_weigh_nothing():
    state = stream(metrics.f1_score, average="macro", zero_division=0)
    state.update([0, 1, 2], [0, 1, 2], sample_weight=[1.0, 1.0, 0.0]).update([0], [1])
    want = metrics.f1_score([0, 1, 2, 0], [0, 1, 2, 1], average="macro", zero_division=0, sample_weight=[1, 1, 0, 1])
    assert state.result() == want


def test_stream_many_clusters_are_sparse(rng):
    a, b = rng.integers(0, 3000, 20_000), rng.integers(0, 3000, 20_000)
    state = stream(metrics.contingency_matrix, sparse=True)
    other = stream(metrics.adjusted_mutual_info_score)
    for first in range(0, 20_000, 1500):
        state.update(a[first : first + 1500], b[first : first + 1500])
        other.update(a[first : first + 1500], b[first : first + 1500])
    assert (state.result() != metrics.contingency_matrix(a, b, sparse=True)).nnz == 0
    assert other.result() == pytest.approx(metrics.adjusted_mutual_info_score(a, b), abs=1e-12)


def test_stream_contingency_takes_nan_as_a_label():
    a = np.array([np.nan, 1.0, np.nan, 2.0])
    state = stream(metrics.contingency_matrix).update(a[:1], a[:1]).update(a[1:], a[1:])
    np.testing.assert_array_equal(state.result(), metrics.contingency_matrix(a, a))


# --- histograms -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bins", [1, 7, 1000])
@pytest.mark.parametrize("weighted", [False, True])
def test_stream_histogram_is_within_its_bound(bins, weighted, rng):
    y = rng.integers(0, 2, 3000)
    score = rng.normal(y, 1.0)
    weights = rng.random(3000) if weighted else None
    state = stream(metrics.roc_auc_score, bins=bins, low=-1.0, high=2.0)
    for first in range(0, 3000, 700):
        part = slice(first, first + 700)
        state.update(y[part], score[part], sample_weight=None if weights is None else weights[part])
    exact = metrics.roc_auc_score(y, score, sample_weight=weights)
    assert abs(state.result() - exact) <= state.error_bound() + 1e-15
    assert state.error_bound() == (pytest.approx(0.5) if bins == 1 else pytest.approx(0.0, abs=0.2))
    assert sum(piece.run.counts.nbytes for piece in state._seen.pieces) == 16 * bins


def test_stream_histogram_bound_is_reached():
    state = stream(metrics.roc_auc_score, bins=2).update([0, 1, 0, 1], [0.1, 0.2, 0.6, 0.7])
    assert state.result() == 0.5 * 2 / 4 + 1 / 4
    assert state.error_bound() == 0.25
    assert metrics.roc_auc_score([0, 1, 0, 1], [0.1, 0.2, 0.6, 0.7]) - state.result() == state.error_bound()


def test_stream_histogram_of_separate_bins_is_exact_and_counts_what_is_outside():
    y, score = [0, 1, 0, 1, 1], [-1e308, 1e308, 0.26, 0.24, 0.51]
    state = stream(metrics.roc_auc_score, bins=4).update(y[:2], score[:2])
    state.merge(stream(metrics.roc_auc_score, bins=4).update(y[2:], score[2:]))
    assert state.rows == 5
    assert state.error_bound() == 0.5 / 6  # one pair shares the first bin
    assert abs(state.result() - metrics.roc_auc_score(y, score)) <= state.error_bound() + 1e-15
    with pytest.raises(ValueError, match="bins, low and high"):
        state.merge(stream(metrics.roc_auc_score, bins=5))
    with pytest.raises(ValueError, match="Negative values"):
        state.update([0], [0.5], sample_weight=[-1.0])


def test_stream_histogram_of_one_class_is_undefined():
    state = stream(metrics.roc_auc_score, bins=4).update([1, 1], [0.1, 0.2])
    assert np.isnan(state.error_bound())
    with pytest.warns(metrics.UndefinedMetricWarning, match="Only one class"):
        assert np.isnan(state.result())


# --- runs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [0, 1, 50, 30_000])
@pytest.mark.parametrize("num_codes", [2, 4])
@pytest.mark.parametrize("weighted", [False, True])
def test_runs_group_as_numpy_does(rows, num_codes, weighted, rng):
    score, codes = rng.integers(-500, 500, rows) / 8, rng.integers(0, num_codes, rows).astype(np.uint8)
    weights = rng.random(rows) if weighted else None
    run = grouped(score, codes, weights, num_codes)
    distinct, places = np.unique(score, return_inverse=True)
    want = np.bincount(num_codes * places + codes, weights, num_codes * len(distinct)).reshape(-1, num_codes)
    np.testing.assert_array_equal(run.scores, distinct)
    np.testing.assert_allclose(run.counts, want, rtol=1e-13)
    twice = joined([run, run])
    np.testing.assert_allclose(twice.counts, 2 * want, rtol=1e-13)
    assert twice.counts.dtype == (np.float64 if weighted else np.int64)


# --- moments ----------------------------------------------------------------------------------------------------------


def test_stream_moments_keep_digits_far_from_zero(rng):
    y = 1e9 + rng.normal(0, 1, 4000)
    p = y + rng.normal(1e6, 0.1, 4000)
    for metric in (metrics.explained_variance_score, metrics.r2_score):
        state = stream(metric)
        for first in range(0, 4000, 7):
            state.update(y[first : first + 7], p[first : first + 7])
        assert state.result() == pytest.approx(metric(y, p), rel=1e-11)


def test_stream_constant_targets_have_no_variance():
    state = stream(metrics.r2_score)
    for _ in range(3):
        state.update([0.1], [0.2])
    assert state.result() == 0.0


def test_stream_effect_of_groups_that_come_apart(rng):
    y, t = rng.normal(1e6, 1.0, 500), np.arange(500) // 250
    state = stream(metrics.average_treatment_effect).update(y[:200], t[:200])
    with pytest.raises(ValueError, match="both 0 and 1"):
        state.result()
    state.update(list(y[200:]), list(t[200:]))
    np.testing.assert_allclose(state.result(), metrics.average_treatment_effect(y, t), rtol=1e-10)


def test_stream_report_of_large_integers_has_the_exact_largest_error():
    y, p = np.array([2**60 + 1, 2]), np.array([2**60, 2])
    state = stream(metrics.regression_report, median=False).update(y[:1], p[:1]).update(y[1:], p[1:])
    assert state.result().max_error == 1.0


def test_stream_r2_of_one_sample_is_undefined():
    with pytest.warns(metrics.UndefinedMetricWarning, match="less than two samples"):
        assert np.isnan(stream(metrics.r2_score).update([1.0], [1.0]).result())


def test_stream_losses_are_compensated():
    state = stream(metrics.brier_score_loss)
    state.update([1], [0.0], sample_weight=[2.0**60])
    for _ in range(64):
        state.update([0], [1.0])
    state.update([1], [0.0], sample_weight=[-(2.0**60)])
    assert state.result() == 1.0


def test_stream_losses_know_classes_in_time():
    state = stream(metrics.log_loss).update([0], [0.25])
    with pytest.raises(ValueError, match="only one label"):
        state.result()
    assert state.update([1], [0.25]).result() == pytest.approx(metrics.log_loss([0, 1], [0.25, 0.25]), rel=1e-14)
    named = stream(metrics.log_loss, labels=["no", "yes"]).update(["yes"], [0.25])
    assert named.result() == pytest.approx(np.log(4), rel=1e-14)
    brier = stream(metrics.brier_score_loss, pos_label="yes").update(["yes"], [0.5]).update(["no"], [0.5])
    assert brier.result() == 0.25
