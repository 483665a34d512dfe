"""Metrics of dask arrays: those of the same arrays in memory."""

import inspect
import subprocess
import sys

import numpy as np
import pytest

import fastcore
from fastcore import metrics

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
ours = pytest.importorskip("fastcore.integrations.dask")

N = 1000
CLASSIFICATION = [
    "accuracy_score",
    "confusion_matrix",
    "f1_score",
    "lift_score",
    "multilabel_confusion_matrix",
    "precision_recall_fscore_support",
    "precision_score",
    "recall_score",
]
RANKING = ["average_precision_score", "lift_curve", "precision_recall_curve", "roc_auc_score", "roc_curve"]
LOSSES = ["brier_score_loss", "log_loss"]
REGRESSION = [
    "explained_variance_score",
    "max_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_percentage_error",
    "mean_squared_error",
    "r2_score",
    "root_mean_squared_error",
]
CHUNKS = [(1000,), (250,) * 4, (1, 998, 1), (100,) * 10, (10,) * 100, (0, 1000, 0)]


@pytest.fixture
def data(rng):
    labels = rng.integers(0, 2, N)
    scores = np.clip(0.3 * labels + rng.integers(0, 60, N) / 100, 0.01, 0.99)
    return labels, scores


def outputs(result):
    return [np.asarray(each) for each in (result if isinstance(result, tuple) else (result,))]


def assert_same(actual, expected):
    for a, b in zip(outputs(actual), outputs(expected), strict=True):
        np.testing.assert_array_equal(a, b)


def assert_close(actual, expected):
    for a, b in zip(outputs(actual), outputs(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("chunks", CHUNKS, ids=lambda chunks: f"{len(chunks)} blocks")
@pytest.mark.parametrize("name", CLASSIFICATION)
def test_classification_of_dask_arrays_is_that_in_memory(data, name, chunks):
    true, pred = data[0], (data[1] > 0.5).astype(int)
    actual = getattr(ours, name)(da.from_array(true, (chunks,)), da.from_array(pred, (chunks,)))
    assert_same(actual, getattr(metrics, name)(true, pred))


@pytest.mark.parametrize("chunks", CHUNKS, ids=lambda chunks: f"{len(chunks)} blocks")
@pytest.mark.parametrize("name", RANKING)
def test_ranking_of_dask_arrays_is_that_in_memory(data, name, chunks):
    actual = getattr(ours, name)(*(da.from_array(each, (chunks,)) for each in data))
    assert_same(actual, getattr(metrics, name)(*data))


@pytest.mark.parametrize("chunks", CHUNKS, ids=lambda chunks: f"{len(chunks)} blocks")
@pytest.mark.parametrize("name", REGRESSION + LOSSES)
def test_sums_of_dask_arrays_are_those_in_memory(data, name, chunks):
    true = data[0] if name in LOSSES else data[0] + 1.5
    actual = getattr(ours, name)(da.from_array(true, (chunks,)), da.from_array(data[1], (chunks,)))
    assert_close(actual, getattr(metrics, name)(true, data[1]))


def test_regression_report_and_clusterings_by_score(data):
    true, pred = data[0] + 1.5, data[1]
    lazy = [da.from_array(each, 300) for each in (true, pred)]
    expected = metrics.regression_report(true, pred, median=False)
    for actual in (
        ours.regression_report(*lazy, median=False),
        ours.score(metrics.regression_report, *lazy, median=False),
    ):
        assert_close(tuple(x for x in actual if x is not None), tuple(x for x in expected if x is not None))
    labels = [da.from_array(each, 300) for each in (data[0], (pred * 10).astype(int))]
    expected = metrics.adjusted_rand_score(data[0], (pred * 10).astype(int))
    assert ours.score(metrics.adjusted_rand_score, *labels) == expected


@pytest.mark.parametrize("name", ["accuracy_score", "roc_auc_score", "mean_squared_error", "log_loss"])
@pytest.mark.parametrize("kind", ["other blocks", "in memory", "one block"])
def test_weights_and_blocks_that_differ_are_rechunked(rng, data, name, kind):
    weights = rng.integers(1, 5, N).astype(float)
    second = (data[1] > 0.5).astype(int) if name == "accuracy_score" else data[1]
    other = {
        "other blocks": lambda x: da.from_array(x, 170),
        "in memory": lambda x: x,
        "one block": lambda x: da.from_array(x, N),
    }[kind]
    actual = getattr(ours, name)(da.from_array(data[0], 300), other(second), sample_weight=other(weights))
    assert_close(actual, getattr(metrics, name)(data[0], second, sample_weight=weights))


def test_the_first_may_be_in_memory(data):
    assert ours.roc_auc_score(data[0], da.from_array(data[1], 300)) == metrics.roc_auc_score(*data)
    assert ours.roc_auc_score(*data) == metrics.roc_auc_score(*data)
    assert ours.roc_auc_score(list(data[0]), list(data[1])) == metrics.roc_auc_score(*data)


def test_arguments_by_name_and_options(data):
    lazy = [da.from_array(each, 300) for each in data]
    assert ours.roc_auc_score(y_score=lazy[1], y_true=lazy[0]) == metrics.roc_auc_score(*data)
    true, pred = np.arange(N) % 3, (data[1] * 3).astype(int)
    lazy = [da.from_array(each, 300) for each in (true, pred)]
    assert ours.f1_score(*lazy, average="macro") == metrics.f1_score(true, pred, average="macro")
    assert (
        ours.fbeta_score(*lazy, beta=2.0, average=None).tolist()
        == metrics.fbeta_score(true, pred, beta=2.0, average=None).tolist()
    )
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        ours.f1_score(*lazy, colour="red")


def test_several_outputs_and_columns_in_blocks(rng):
    true, pred = rng.standard_normal((N, 4)), rng.standard_normal((N, 4))
    actual = ours.mean_squared_error(
        da.from_array(true, (300, 2)), da.from_array(pred, (200, 3)), multioutput="raw_values"
    )
    assert_close(actual, metrics.mean_squared_error(true, pred, multioutput="raw_values"))


def test_strings_as_labels(data):
    true, pred = np.array(["no", "yes"])[data[0]], np.array(["no", "yes", "maybe"])[(data[1] * 3).astype(int)]
    for kind in (true.dtype, object):
        lazy = [da.from_array(each.astype(kind), 300) for each in (true, pred)]
        assert_same(ours.confusion_matrix(*lazy), metrics.confusion_matrix(true, pred))


def test_bins_bound_the_memory_of_roc_auc_score(data):
    lazy = [da.from_array(each, 300) for each in data]
    stream = metrics.stream(metrics.roc_auc_score, bins=50).update(*data)
    assert ours.roc_auc_score(*lazy, bins=50) == stream.result()
    with pytest.raises(TypeError, match="bins is an option of streams of roc_auc_score"):
        ours.f1_score(*lazy, bins=50)


def test_blocks_of_unknown_length_are_paired(data):
    lazy = [da.from_array(each, 300) for each in data]
    keep = lazy[1] < 0.5
    actual = ours.roc_auc_score(lazy[0][keep], lazy[1][keep])
    assert actual == metrics.roc_auc_score(data[0][data[1] < 0.5], data[1][data[1] < 0.5])
    with pytest.raises(
        ValueError, match=r"as many blocks. Got y_true: 4 blocks, y_score: in memory. Call compute_chunk"
    ):
        ours.roc_auc_score(lazy[0][keep], data[1])
    with pytest.raises(ValueError, match="y_true: 4 blocks, y_score: 1 block"):
        ours.roc_auc_score(lazy[0][keep], da.from_array(data[1], N))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        ours.roc_auc_score(lazy[0][keep], lazy[1])


def test_dask_series_are_taken(data):
    class Series:
        def __init__(self, x):
            self.x = x

        def to_dask_array(self):
            return da.from_array(self.x, 300)[da.ones(N, dtype=bool, chunks=300)]

    assert ours.roc_auc_score(*map(Series, data)) == metrics.roc_auc_score(*data)


def test_compute_false_is_lazy_and_shares_a_pass(data):
    reads = []

    def read(block):
        if block.size:
            reads.append(1)
        return block

    lazy = [da.from_array(each, 250).map_blocks(read, dtype=each.dtype, meta=each[:0]) for each in data]
    area = ours.roc_auc_score(*lazy, compute=False)
    loss = ours.log_loss(*lazy, compute=False)
    assert reads == []
    with dask.config.set(scheduler="synchronous"):
        results = dask.compute(area, loss)
    assert len(reads) == 8
    assert_close(results, (metrics.roc_auc_score(*data), metrics.log_loss(*data)))
    assert area.compute() == area.compute()


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_results_do_not_depend_on_workers(data, scheduler):
    lazy = [da.from_array(each, 7) for each in (data[0] + 1.5, data[1])]
    with dask.config.set(scheduler="synchronous"):
        expected = ours.r2_score(*lazy)
    with dask.config.set(scheduler=scheduler), fastcore.num_threads(2):
        assert ours.r2_score(*lazy) == expected


def test_tasks_run_in_other_processes(data):
    lazy = [da.from_array(each, 500) for each in data]
    with dask.config.set(scheduler="processes", num_workers=1):
        assert ours.roc_auc_score(*lazy) == metrics.roc_auc_score(*data)


def test_mistakes_raise_as_the_metric_does(data):
    lazy = [da.from_array(each, 300) for each in data]
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        ours.roc_auc_score(lazy[0], lazy[1][:-1])
    with pytest.raises(TypeError, match="median_absolute_error cannot be streamed: a median needs all the errors"):
        ours.score(metrics.median_absolute_error, *lazy)
    with pytest.raises(TypeError, match=r"takes y_true, y_score\. Got 1 array"):
        ours.score(metrics.roc_auc_score, lazy[0])
    with pytest.raises(TypeError, match="missing a required argument: 'y_score'"):
        ours.roc_auc_score(lazy[0])
    with pytest.raises(ValueError, match="y_true must have a first axis of samples"):
        ours.roc_auc_score(da.asarray(1), lazy[1])
    with pytest.raises(ValueError, match="average"):
        ours.f1_score(*lazy, average="best")
    with pytest.raises(TypeError, match="max_error takes no sample_weight"):
        ours.score(metrics.max_error, *lazy, sample_weight=lazy[1])
    with pytest.raises(ValueError, match="NaN"):
        ours.mean_squared_error(lazy[1], da.where(lazy[1] > 0.5, lazy[1], np.nan))


def test_one_class_warns_as_in_memory(data):
    ones = da.ones(N, dtype=int, chunks=300)
    with pytest.warns(metrics.UndefinedMetricWarning, match="Only one class") as caught:
        assert np.isnan(ours.roc_auc_score(ones, da.from_array(data[1], 300)))
    assert len(caught) == 1


def test_no_samples_raise_as_in_memory():
    none = da.zeros(0, dtype=int)
    with pytest.raises(ValueError) as expected:
        metrics.accuracy_score(np.zeros(0, int), np.zeros(0, int))
    with pytest.raises(ValueError) as actual:
        ours.accuracy_score(none, none)
    assert str(actual.value) == str(expected.value)


def test_every_name_is_the_metric_of_this_name():
    for name in ours.__all__:
        if name != "score":
            assert inspect.signature(getattr(ours, name)) == inspect.signature(getattr(metrics, name))
            assert getattr(ours, name).__name__ == name
    assert sorted(ours.__all__) == ours.__all__


def test_without_dask_the_import_names_the_extra():
    code = (
        "import sys; sys.modules['dask'] = None\n"
        "try:\n    import fastcore.integrations.dask\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "pip install 'fastcore-kernels[dask]'" in done.stdout, done.stderr


@pytest.mark.parametrize(
    "arguments, options, text",
    [
        ((), {"foo": 3}, "Got: got an unexpected keyword argument 'foo'"),
        ((np.ones(4),), {}, "Got: too many positional arguments"),
    ],
)
def test_wrong_arguments_name_the_metric(arguments, options, text):
    y = da.from_array(np.array([0, 1, 1, 0]), chunks=2)
    with pytest.raises(TypeError, match=rf"roc_auc_score takes y_true, y_score, .* {text}"):
        ours.roc_auc_score(y, y, *arguments, **options)
