"""Data for every metric that streams, and ways to stream it. The metric of all the data is what must come out."""

import copy
import itertools
import pickle

import numpy as np

from fastcore import metrics
from fastcore.metrics import stream


def labels(rng, rows):
    return rng.integers(0, 4, rows), rng.integers(0, 5, rows)


def binary(rng, rows):
    return rng.integers(0, 2, rows), rng.integers(0, 2, rows)


def strings(rng, rows):
    names = np.array(["cat", "dog", "a long name", "x"])
    return names[rng.integers(0, 4, rows)], names[rng.integers(0, 3, rows)].astype(object)


def scores(rng, rows):
    y = rng.integers(0, 2, rows)
    return y, np.round(rng.normal(y, 1.0), 2)


def named_scores(rng, rows):
    y, score = scores(rng, rows)
    return np.array(["no", "yes"])[y], score.astype(np.float32)


def numbers(rng, rows):
    y = rng.normal(1e4, 1.0, rows)
    return y, y + rng.normal(0.1, 0.5, rows)


def outputs(rng, rows):
    y = rng.normal(3.0, 1.0, (rows, 3)) * [1, 10, 100]
    return y, y + rng.normal(0.1, 0.5, (rows, 3))


def integers(rng, rows):
    return rng.integers(1, 100, rows), rng.integers(-5, 100, rows)


def with_zeros(rng, rows):
    return rng.integers(-2, 5, rows), rng.normal(0.0, 1.0, rows)


def probabilities(rng, rows):
    return rng.integers(0, 2, rows), rng.random(rows)


def table(rng, rows):
    p = rng.random((rows, 3)) + 0.1
    return rng.integers(0, 3, rows), p / p.sum(axis=1, keepdims=True)


def effects(rng, rows):
    return rng.normal(1e6, 1.0, rows), rng.integers(0, 2, rows)


def uplifts(rng, rows):
    return rng.integers(0, 2, rows), np.round(rng.normal(0, 1, rows), 1), rng.integers(0, 2, rows)


def clustering(rng, rows):
    return (rng.integers(0, 5, rows),)


# (metric, data, options, whether there are weights)
COUNTS = [
    ("accuracy_score", labels, {}, True),
    ("accuracy_score", strings, {"normalize": False}, True),
    ("precision_score", labels, {"average": "macro"}, True),
    ("precision_score", binary, {}, True),
    ("recall_score", labels, {"average": None, "labels": [3, 1, 7]}, True),
    ("f1_score", strings, {"average": "weighted"}, True),
    ("f1_score", binary, {"pos_label": 0}, True),
    ("fbeta_score", labels, {"beta": 2.0, "average": "micro"}, True),
    ("precision_recall_fscore_support", labels, {}, True),
    ("precision_recall_fscore_support", strings, {"average": "macro"}, True),
    ("confusion_matrix", labels, {}, True),
    ("confusion_matrix", strings, {"labels": ["x", "cat"], "normalize": "true"}, True),
    ("multilabel_confusion_matrix", strings, {}, True),
    ("lift_score", binary, {}, True),
    ("mutual_info_score", labels, {}, False),
    ("normalized_mutual_info_score", strings, {"average_method": "max"}, False),
    ("adjusted_mutual_info_score", labels, {}, False),
    ("rand_score", labels, {}, False),
    ("adjusted_rand_score", strings, {}, False),
    ("homogeneity_completeness_v_measure", labels, {"beta": 0.5}, False),
    ("homogeneity_score", labels, {}, False),
    ("completeness_score", labels, {}, False),
    ("v_measure_score", labels, {}, False),
    ("fowlkes_mallows_score", labels, {}, False),
    ("pair_confusion_matrix", labels, {}, False),
    ("contingency_matrix", strings, {}, False),
    ("contingency_matrix", labels, {"eps": 0.5}, False),
    ("entropy", clustering, {}, False),
    ("roc_auc_score", scores, {}, True),
    ("roc_auc_score", named_scores, {}, True),
    ("roc_auc_score", scores, {"max_fpr": 0.3}, True),
    ("roc_curve", scores, {}, True),
    ("roc_curve", named_scores, {"pos_label": "no", "drop_intermediate": False}, True),
    ("precision_recall_curve", scores, {}, True),
    ("precision_recall_curve", named_scores, {"pos_label": "yes"}, True),
    ("average_precision_score", scores, {}, True),
    ("average_precision_score", named_scores, {"pos_label": "yes"}, True),
    ("lift_curve", scores, {}, True),
    ("uplift", binary, {}, False),
    ("qini_curve", uplifts, {}, False),
    ("qini_curve", uplifts, {"adjustment": "total"}, False),
    ("qini_auc_score", uplifts, {}, False),
    ("qini_auc_score", uplifts, {"adjustment": "total", "normalization": "none"}, False),
    ("uplift_curve", uplifts, {"ordering": "separate"}, False),
    ("uplift_auc_score", uplifts, {}, False),
    ("uplift_auc_score", uplifts, {"ordering": "separate", "normalization": "total"}, False),
]
SUMS = [
    ("mean_squared_error", numbers, {}, True),
    ("mean_squared_error", outputs, {"multioutput": "raw_values"}, True),
    ("root_mean_squared_error", outputs, {"multioutput": [1.0, 2.0, 3.0]}, True),
    ("mean_absolute_error", integers, {}, True),
    ("mean_absolute_percentage_error", numbers, {}, True),
    ("mean_percentage_error", numbers, {"unit": "percent", "sign": "pred_minus_true"}, True),
    ("mean_percentage_error", with_zeros, {"zero_target": "skip"}, True),
    ("mean_percentage_error", with_zeros, {"zero_target": "epsilon"}, True),
    ("r2_score", numbers, {}, True),
    ("r2_score", outputs, {"multioutput": "variance_weighted", "force_finite": False}, True),
    ("explained_variance_score", outputs, {}, True),
    ("max_error", integers, {}, False),
    ("max_error", numbers, {}, False),
    ("regression_report", numbers, {"median": False}, True),
    ("regression_report", outputs, {"median": False, "multioutput": "raw_values", "zero_target": "skip"}, True),
    ("average_treatment_effect", effects, {}, False),
    ("average_treatment_effect", effects, {"distribution": "normal", "confidence": 0.9}, False),
    ("log_loss", probabilities, {}, True),
    ("log_loss", table, {"labels": [0, 1, 2], "normalize": False}, True),
    ("brier_score_loss", probabilities, {}, True),
    ("brier_score_loss", table, {"labels": [0, 1, 2], "scale_by_half": True}, True),
]


def name_of(case):
    return f"{case[0]}-{case[1].__name__}-{'-'.join(case[2])}"


def states_of(case, data, weights, cuts):
    """A state for each stretch of the data between cuts."""
    name, _, options, _ = case
    metric = getattr(metrics, name)
    rows = len(data[0])
    ends = [0, *sorted(cuts), rows]
    states = []
    for first, end in itertools.pairwise(ends):
        part = None if weights is None else weights[first:end]
        states.append(stream(metric, **options).update(*(x[first:end] for x in data), sample_weight=part))
    return states


def merged_by(states, order):
    """One state of all, merged two at a time as random numbers say; some go through pickle or are copies."""
    states = list(states)
    while len(states) > 1:
        one = states.pop(order.integers(len(states)))
        two = states[order.integers(len(states))]
        if order.random() < 0.3:
            one = pickle.loads(pickle.dumps(one))
        elif order.random() < 0.3:
            one = copy.copy(one)
        two.merge(one)
    return states[0]


def flat(result):
    """All numbers of a result as a list of arrays."""
    if result is None:
        return []
    if isinstance(result, tuple):
        return [x for each in result for x in flat(each)]
    return [np.asarray(result)]


def assert_same(got, want, tolerance=0.0):
    assert type(got) is type(want)
    for mine, other in zip(flat(got), flat(want), strict=True):
        assert mine.dtype == other.dtype
        assert mine.shape == other.shape
        if tolerance:
            np.testing.assert_allclose(mine, other, rtol=tolerance, atol=tolerance * 1e-3)
        else:
            np.testing.assert_array_equal(mine, other)
