"""Tensors of PyTorch, which may not be there: the same bits as of arrays, in every family of metrics."""

import numpy as np
import pytest

from fastcore import metrics

LABELS = ("accuracy_score", "f1_score", "confusion_matrix", "adjusted_mutual_info_score", "adjusted_rand_score")
SCORES = ("roc_auc_score", "average_precision_score", "log_loss", "brier_score_loss")
TARGETS = ("mean_squared_error", "mean_absolute_error", "r2_score", "median_absolute_error", "max_error")


@pytest.mark.peer
@pytest.mark.parametrize("size", [11, 20_000])
def test_tensors_give_the_bits_of_arrays(rng, size):
    torch = pytest.importorskip("torch")
    y, p, score, other = rng.integers(0, 2, size), rng.integers(0, 2, size), rng.random(size), rng.random(size)
    y[:2] = 0, 1
    calls = [(name, (y, p)) for name in LABELS] + [(name, (y, score)) for name in SCORES]
    calls += [(name, (score, other)) for name in TARGETS]
    calls += [("average_treatment_effect", (score, y)), ("qini_auc_score", (y, score, p))]
    for name, arguments in calls:
        metric = getattr(metrics, name)
        np.testing.assert_array_equal(metric(*map(torch.tensor, arguments)), metric(*arguments), err_msg=name)


@pytest.mark.peer
def test_silhouette_of_tensors_gives_the_bits_of_arrays(rng):
    torch = pytest.importorskip("torch")
    x, labels = rng.standard_normal((150, 3)), rng.integers(0, 3, 150)
    expected = metrics.silhouette_samples(x, labels)
    np.testing.assert_array_equal(metrics.silhouette_samples(torch.tensor(x), torch.tensor(labels)), expected)
