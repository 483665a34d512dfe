"""Streams of metrics: what holds for all of them. The metric of all batches put together is what must come out."""

import copy
import pickle
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcore import metrics
from fastcore.metrics import stream
from tests.metrics.stream_cases import COUNTS, SUMS, assert_same, merged_by, name_of, numbers, scores, states_of

WEIGHTED = [(case, weighted) for case in COUNTS + SUMS for weighted in (False, True) if case[3] or not weighted]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "case,weighted", WEIGHTED, ids=[f"{name_of(case)}{'-weighted' * weighted}" for case, weighted in WEIGHTED]
)
def test_stream_any_batches_and_merges_give_the_metric_of_all(case, weighted, rng):
    rows = 2500
    data = case[1](rng, rows)
    options = {"sample_weight": rng.random(rows)} if weighted else {}
    want = getattr(metrics, case[0])(*data, **case[2], **options)
    cuts = rng.integers(0, rows, rng.integers(1, 12))
    state = merged_by(states_of(case, data, options.get("sample_weight"), cuts), rng)
    assert state.rows == rows
    assert_same(state.result(), want, 1e-12)
    assert_same(state.result(), want, 1e-12)  # again, of what was put together


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("case", COUNTS, ids=name_of)
def test_stream_merge_of_counts_is_associative_to_the_last_bit(case, rng):
    rows = 2500
    data = case[1](rng, rows)
    results = [
        merged_by(states_of(case, data, None, rng.integers(0, rows, cuts)), rng).result() for cuts in (0, 3, 9, 30)
    ]
    for each in results[1:]:
        assert_same(each, results[0])


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 1), st.sampled_from([-0.0, 0.0, 0.5, 1.0, -3.0])), max_size=6)),
    st.integers(0, 2**32),
)
def test_stream_of_few_scores_equals_the_metric(batches, seed):
    state = stream(metrics.roc_curve, drop_intermediate=False)
    for batch in batches:
        state.merge(
            stream(metrics.roc_curve, drop_intermediate=False).update([x for x, _ in batch], [s for _, s in batch])
        )
    rows = [row for batch in batches for row in batch]
    if 0 < sum(x for x, _ in rows) < len(rows):
        want = metrics.roc_curve([x for x, _ in rows], [s for _, s in rows], drop_intermediate=False)
        assert_same(state.result(), want)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.tuples(*2 * [st.integers(-2, 4)]), max_size=6), min_size=1))
def test_stream_of_growing_classes_equals_the_metric(batches):
    rows = [row for batch in batches for row in batch]
    for metric in (metrics.confusion_matrix, metrics.contingency_matrix):
        state = stream(metric)
        for batch in batches:
            state.update([a for a, _ in batch], [b for _, b in batch])
        if len({*map(tuple, rows)}) > 1 and len({x for row in rows for x in row}) > 1:
            assert_same(state.result(), metric([a for a, _ in rows], [b for _, b in rows]))


@pytest.mark.parametrize("case", COUNTS + SUMS, ids=name_of)
def test_stream_empty_state_ends_as_the_metric_of_nothing(case):
    metric = getattr(metrics, case[0])
    state = stream(metric, **case[2])
    data = case[1](np.random.default_rng(0), 3)
    state.update(*(x[:0] for x in data))
    assert state.rows == 0
    nothing = [np.empty(0, np.int64) for _ in data]
    try:
        want = metric(*nothing, **case[2])
    except (ValueError, TypeError) as error:
        with pytest.raises(type(error)):
            state.result()
    else:
        assert_same(state.result(), want)


REFUSED = [
    ("f1_score", ([0, 1], [1, 1]), ([0, 1], [1]), "inconsistent"),
    ("f1_score", ([0, 1], [1, 1]), (["a", "b"], ["a", "b"]), "Mix of label input types"),
    ("f1_score", ([0, 1], [1, 1]), ([0.5, 1.5], [0, 1]), "mix of continuous"),
    ("f1_score", ([0, 1], [1, 1]), ([[0, 1]], [[1, 1]]), "one label a sample"),
    ("accuracy_score", (["a"], ["b"]), ([1], [1]), "Mix of label input types"),
    ("adjusted_rand_score", (["a"], ["b"]), ([1], ["b"]), "Mix of label input types"),
    ("roc_auc_score", ([0, 1], [0.1, 0.2]), ([0, 2], [0.1, 0.2]), "multiclass format is not supported"),
    ("roc_auc_score", ([0, 1], [0.1, 0.2]), ([0, 1], [0.1, np.nan]), "NaN"),
    ("roc_auc_score", ([0, 1], [0.1, 0.2]), ([0, 1], [[0.1, 0.9], [0.2, 0.8]]), "one score a sample"),
    ("roc_curve", ([0, 1], [0.1, 0.2]), (["a", "b"], [0.1, 0.2]), "pos_label is not specified"),
    ("roc_curve", ([1, 1], [0.1, 0.2]), ([2, 2], [0.1, 0.2]), "pos_label is not specified"),
    ("mean_squared_error", ([1.0], [2.0]), ([np.inf], [1.0]), "infinity"),
    ("r2_score", ([1.0, 2.0], [2.0, 1.0]), ([[1.0, 2.0]], [[1.0, 2.0]]), "as many outputs"),
    ("mean_percentage_error", ([1.0], [2.0]), ([0.0], [1.0]), "must not be 0"),
    ("max_error", ([1.0], [2.0]), ([[0.0, 1.0]], [[1.0, 2.0]]), "Multioutput not supported"),
    ("log_loss", ([0, 1], [0.1, 0.2]), ([0, 1], [0.1, 1.2]), "y_prob"),
    ("log_loss", ([0, 1], [0.1, 0.2]), ([1, 2], [0.1, 0.2]), "Pass stream\\(log_loss, labels"),
    ("log_loss", ([0, 1], [0.1, 0.2]), ([1, 0], [[0.1, 0.9], [0.2, 0.8]]), "Pass stream\\(log_loss, labels"),
    ("brier_score_loss", ([0, 1], [0.1, 0.2]), (["a", "b"], [0.1, 0.2]), "pos_label"),
    ("brier_score_loss", ([0, 0], [0.1, 0.2]), ([-1, -1], [0.1, 0.2]), "pos_label"),
    ("average_treatment_effect", ([0.5, 1.0], [0, 1]), ([0.5, 1.0], [0, 2]), "not binary"),
    ("average_treatment_effect", ([0.5, 1.0], [0, 1]), ([0.5, np.nan], [0, 1]), "NaN"),
    ("uplift", ([0, 1], [0, 1]), ([0, 3], [0, 1]), "not binary"),
    ("qini_curve", ([0, 1], [0.5, 1.0], [0, 1]), ([0, 1], [0.5, np.inf], [0, 1]), "infinity"),
]


@pytest.mark.parametrize("as_arrays", [False, True])
@pytest.mark.parametrize("name,good,bad,words", REFUSED, ids=[f"{x[0]}-{x[3][:12]}" for x in REFUSED])
def test_stream_refused_batch_leaves_no_trace(name, good, bad, words, as_arrays):
    change = np.array if as_arrays else list
    state = stream(getattr(metrics, name)).update(*map(change, good))
    before = pickle.dumps(state._seen)
    with pytest.raises((ValueError, TypeError), match=words):
        state.update(*map(change, bad))
    assert pickle.dumps(state._seen) == before
    assert state.rows == len(good[0])


def test_stream_refused_merge_leaves_no_trace():
    ours, other = stream(metrics.accuracy_score).update([1], [1]), stream(metrics.accuracy_score).update(["a"], ["a"])
    with pytest.raises(ValueError, match="Mix of label input types"):
        ours.merge(other)
    assert ours.rows == other.rows == 1
    for another, words in (
        (stream(metrics.f1_score), "the same metric"),
        (stream(metrics.accuracy_score, normalize=False), "the same options"),
    ):
        with pytest.raises(ValueError, match=words):
            ours.merge(another)
    with pytest.raises(TypeError, match="state of its kind"):
        ours.merge(stream(metrics.roc_auc_score))
    with pytest.raises(TypeError, match="state of its kind"):
        ours.merge(ours.result())


def test_stream_merge_of_options_that_are_arrays_or_defaults():
    a = stream(metrics.f1_score, average=None, labels=np.array([1, 2])).update([1, 2], [2, 2])
    a.merge(stream(metrics.f1_score, labels=[1, 2], average=None, zero_division="warn").update([1], [1]))
    np.testing.assert_array_equal(a.result(), metrics.f1_score([1, 2, 1], [2, 2, 1], average=None))
    b = stream(metrics.f1_score, zero_division=np.nan).merge(stream(metrics.f1_score, zero_division=float("nan")))
    assert b.rows == 0


@pytest.mark.parametrize(
    "name,options,words",
    [
        ("median_absolute_error", {}, "median needs all the errors"),
        ("silhouette_score", {}, "distances of each sample"),
        ("uplift_at_k", {}, "order of all rows"),
        ("auc", {}, "no samples"),
        ("regression_report", {}, "median=False"),
        ("f1_score", {"avg": "macro"}, "no option 'avg'"),
        ("f1_score", {"sample_weight": [1]}, "belongs to a batch"),
        ("f1_score", {"average": "macros"}, "average"),
        ("r2_score", {"multioutput": "sum"}, "multioutput"),
        ("log_loss", {"normalize": 3}, "normalize"),
        ("qini_auc_score", {"normalization": "x"}, "normalization"),
        ("average_treatment_effect", {"pairs": [1, 1]}, "different batches"),
        ("f1_score", {"bins": 3}, "option of streams of roc_auc_score"),
        ("roc_auc_score", {"bins": 0}, "bins"),
        ("roc_auc_score", {"bins": 3, "low": 2.0}, "above low"),
        ("roc_auc_score", {"bins": 3, "max_fpr": 0.5}, "no bound for max_fpr"),
        ("roc_auc_score", {"low": 0.0}, "no option 'low'"),
    ],
)
def test_stream_that_cannot_be_says_why(name, options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        stream(getattr(metrics, name), **options)


def test_stream_of_other_functions_is_refused():
    for function in (np.mean, 3, "f1_score"):
        with pytest.raises(TypeError, match="function of fastcore"):
            stream(function)


def test_stream_wrong_number_of_arrays_and_weights_are_refused():
    with pytest.raises(TypeError, match="takes y_true, y_pred"):
        stream(metrics.f1_score).update([1], [1], [1.0])
    with pytest.raises(TypeError, match="takes no sample_weight"):
        stream(metrics.max_error).update([1.0], [1.0], sample_weight=[1.0])


def test_stream_batch_of_weight_zero_is_no_fault():
    state = stream(metrics.roc_auc_score).update([0, 1], [0.2, 0.1], sample_weight=[0.0, 0.0])
    with pytest.raises(ValueError, match="at least one non-zero"):
        state.result()
    state.update([0, 1], [0.1, 0.2])
    assert state.result() == 1.0
    for metric in (metrics.mean_squared_error, metrics.r2_score, metrics.brier_score_loss, metrics.accuracy_score):
        state = stream(metric).update([0, 1], [1, 1], sample_weight=[0.0, 0.0]).update([1, 0], [1, 0])
        weighted = metric([0, 1, 1, 0], [1, 1, 1, 0], sample_weight=[0.0, 0.0, 1.0, 1.0])
        assert state.result() == pytest.approx(weighted, rel=1e-12)


def test_stream_copies_are_independent_and_shown():
    state = stream(metrics.f1_score, average="macro").update([0, 1], [1, 1])
    assert repr(state) == "<stream(f1_score, average='macro'): 2 rows>"
    for other in (state.copy(), copy.copy(state), copy.deepcopy(state), pickle.loads(pickle.dumps(state))):
        before = state.result()
        other.update([0, 0], [0, 0])
        assert (state.rows, other.rows) == (2, 4)
        assert state.result() == before != other.result()
        assert state.merge(state.copy().merge(stream(metrics.f1_score, average="macro"))).rows == 4
        state = stream(metrics.f1_score, average="macro").update([0, 1], [1, 1])


def test_stream_options_are_copied():
    labels = [1, 0]
    state = stream(metrics.confusion_matrix, labels=labels).update([0, 1], [1, 1])
    labels.reverse()
    np.testing.assert_array_equal(state.result(), [[1, 0], [1, 0]])


def test_stream_merge_with_itself_counts_twice():
    state = stream(metrics.confusion_matrix).update([0, 1, 2], [0, 2, 2])
    np.testing.assert_array_equal(state.merge(state).result(), 2 * metrics.confusion_matrix([0, 1, 2], [0, 2, 2]))


@pytest.mark.parametrize("case", [("roc_auc_score", scores, {}, True), ("r2_score", numbers, {}, True)], ids=name_of)
def test_stream_threads_update_and_merge_one_state(case, rng):
    rows = 4000
    data = case[1](rng, rows)
    total = stream(getattr(metrics, case[0]))

    def work(first):
        for start in range(first, first + 1000, 100):
            part = [x[start : start + 100] for x in data]
            if start % 200:
                total.update(*part)
            else:
                total.merge(stream(getattr(metrics, case[0])).update(*part))
            total.result()

    threads = [threading.Thread(target=work, args=(first,)) for first in range(0, rows, 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert total.rows == rows
    assert_same(total.result(), getattr(metrics, case[0])(*data), 1e-12)
