"""Agreement of two clusterings, and silhouettes of points around centres.

Axes: N points, D features, K clusters a side.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
from scipy.special import xlogy

from benchmarks.cases.metrics_task import Task, cases_of
from benchmarks.peers import metrics_sklearn
from benchmarks.registry import Case
from fastcore.reference import metrics_clustering, metrics_silhouette

DOMAIN = "metrics_clustering"
GROUPS = 8
BLOCK = 1 << 22  # distances at a time
PEERS = {"scikit-learn": metrics_sklearn.prepare}


def make_labels(random: np.random.Generator, rows: int, clusters: int) -> Sequence[np.ndarray]:
    """Two clusterings that agree in more than half of the points."""
    labels = random.integers(0, clusters, rows)
    return labels, np.where(random.random(rows) < 0.6, labels, random.integers(0, clusters, rows))


def make_points(random: np.random.Generator, rows: int, features: int) -> Sequence[np.ndarray]:
    groups = min(GROUPS, rows // 3)
    labels = random.integers(0, groups, rows)
    labels[: 2 * groups] = np.repeat(np.arange(groups), 2)
    centres = 3 * random.standard_normal((groups, features))
    return random.standard_normal((rows, features)) + centres[labels], labels


def adjusted_mutual_info(true: np.ndarray, pred: np.ndarray) -> float:
    """Through arrays of the contingency matrix; of equal pairs of cluster sizes one is computed."""
    classes, rows = np.unique(true, return_inverse=True)
    clusters, columns = np.unique(pred, return_inverse=True)
    shape, n = (len(classes), len(clusters)), len(true)
    matrix = np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1]).reshape(shape)
    a, b = matrix.sum(1), matrix.sum(0)
    entropies = [-np.sum(sizes / n * np.log(sizes / n)) for sizes in (a, b)]
    i, j = np.nonzero(matrix)
    shared = matrix[i, j]
    information = np.sum(shared / n * np.log(n * shared / (a[i] * b[j])))
    sizes_a, times_a = np.unique(a, return_counts=True)
    sizes_b, times_b = np.unique(b, return_counts=True)
    expected = sum(
        k * m * expected_information(x, y, n)
        for x, k in zip(sizes_a.tolist(), times_a.tolist())
        for y, m in zip(sizes_b.tolist(), times_b.tolist())
    )
    return (information - expected) / (np.mean(entropies) - expected)


def expected_information(a: int, b: int, n: int) -> float:
    """E[s / n * log(n * s / (a * b))] of the number s that a cluster of a and one of b out of n points share by chance.

    Within 40 standard deviations of the mean: what is beyond is less than any float64.
    """
    mean, deviation = a * b / n, np.sqrt(a * b / n * (1 - a / n) * (1 - b / n))
    first = max(0, a + b - n, int(mean - 40 * deviation) - 40)
    shared = np.arange(first, min(a, b, int(mean + 40 * deviation) + 40) + 1, dtype=float)
    ratios = (a - shared[:-1]) * (b - shared[:-1]) / (shared[1:] * (n - a - b + shared[1:]))
    logs = np.cumsum(np.log(ratios))  # of the probabilities, over the first one
    chances = np.exp(np.append(0, logs) - max(0, logs.max(initial=0)))
    return np.sum(xlogy(shared, shared * n / (a * b)) * chances) / np.sum(chances) / n


def silhouette(points: np.ndarray, labels: np.ndarray) -> float:
    """By blocks of rows; squared distances expanded, for matrix products."""
    n, groups = len(labels), labels.max() + 1
    members = (labels[:, None] == np.arange(groups)).astype(float)
    sizes = members.sum(0)
    points = points - points.mean(0)
    squares = np.einsum("nd,nd->n", points, points)
    result = np.zeros(n)
    step = max(1, BLOCK // n)
    for start in range(0, n, step):
        block = slice(start, min(start + step, n))
        apart = squares[block, None] + squares - 2 * (points[block] @ points.T)
        rows = np.arange(block.stop - start)
        apart[rows, start + rows] = 0  # the diagonal, which rounding leaves at 1e-15
        sums = np.sqrt(np.maximum(apart, 0, out=apart), out=apart) @ members
        own = labels[block]
        inner = sums[rows, own] / np.maximum(sizes[own] - 1, 1)
        means = sums / sizes
        means[rows, own] = np.inf
        outer = means.min(1)
        result[block] = np.where(sizes[own] > 1, (outer - inner) / np.maximum(inner, outer), 0)
    return result.mean()


def information_task(clusters: int, rows: Sequence[int], quick_rows: int | None = None) -> Task:
    return Task(
        domain=DOMAIN,
        function="adjusted_mutual_info_score",
        kind="int64",
        rows=rows,
        make=partial(make_labels, clusters=clusters),
        naive=adjusted_mutual_info,
        twin=partial(metrics_clustering.adjusted_mutual_info_score, average_method="arithmetic"),
        twin_rows=100,  # its loop over all pairs of clusters takes seconds
        peers=PEERS,
        row_bytes=16.0,
        sizes={"K": clusters},
        peer_tolerance=1e-9,  # logarithms of factorials cancel
        quick_rows=quick_rows,
    )


def silhouette_task(features: int) -> Task:
    return Task(
        domain=DOMAIN,
        function="silhouette_score",
        kind="f64",
        rows=(10, 1_000, 20_000),
        make=partial(make_points, features=features),
        naive=silhouette,
        twin=metrics_silhouette.silhouette_score,
        twin_rows=200,  # it holds N * N * D differences
        peers=PEERS,
        row_bytes=8.0 * features,
        flops=lambda rows: 1.5 * features * rows * rows,
        sizes={"D": features},
        tolerance=1e-10,
        quick_rows=1_000 if features == 16 else None,
    )


def tasks() -> list[Task]:
    return [
        information_task(10, (1_000, 100_000, 1_000_000)),
        information_task(100, (1_000, 100_000, 1_000_000), quick_rows=100_000),
        information_task(1_000, (1_000, 100_000)),
        *map(silhouette_task, (2, 16, 128)),
    ]


def cases() -> list[Case]:
    return cases_of(tasks())
