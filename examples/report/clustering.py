"""Handwritten digits: k-means on scikit-learn's digits, against the digits that were meant."""

from typing import Any, NamedTuple

import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits

from examples.report.measures import PEERS, Settings, Table
from fastcore.metrics import silhouette_samples

CLUSTERS = 10
# Silhouettes take all distances between points, some 5 ms.
SILHOUETTE_RESAMPLES = 200


class Clustering(NamedTuple):
    """points (N, 64); digits (N,), what they show; clusters (N,); silhouettes (N,)."""

    points: np.ndarray
    digits: np.ndarray
    clusters: np.ndarray
    silhouettes: np.ndarray


def cluster(settings: Settings) -> Clustering:
    points, digits = load_digits(return_X_y=True)
    clusters = KMeans(CLUSTERS, n_init=3, random_state=settings.seed).fit_predict(points).astype(np.int64)
    return Clustering(points, digits, clusters, silhouette_samples(points, clusters))


def purity(library: Any, digits: np.ndarray, clusters: np.ndarray) -> float:
    """Share of the points that show the most frequent digit of their cluster."""
    return float(library.contingency_matrix(digits, clusters).max(0).sum() / len(digits))


def expected_information(library: Any, digits: np.ndarray, clusters: np.ndarray) -> float:
    return float(library.expected_mutual_information(library.contingency_matrix(digits, clusters), len(digits)))


def entropy_of_clusters(library: Any, _: np.ndarray, clusters: np.ndarray) -> float:
    return float(library.entropy(clusters))


def pair_shares(library: Any, digits: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """(2, 2): of all pairs of points."""
    matrix = library.pair_confusion_matrix(digits, clusters)
    return matrix / matrix.sum()


def clustering_metrics(clustering: Clustering, settings: Settings) -> Table:
    """What compares clusters with digits, then what looks at the clusters alone."""
    points, digits, clusters, silhouettes = clustering
    table = Table(f"Digits, clustering: {len(digits)} images in {CLUSTERS} clusters", settings)
    information = ("adjusted_mutual_info_score", "normalized_mutual_info_score", "mutual_info_score")
    pairs = ("adjusted_rand_score", "rand_score", "fowlkes_mallows_score")
    for name in (*information, *pairs, "homogeneity_score", "completeness_score", "v_measure_score"):
        table.add(name, digits, clusters)
    names = ["homogeneity", "completeness", "V-measure"]
    table.add("homogeneity_completeness_v_measure", digits, clusters, what=names)
    table.add("expected_mutual_information", digits, clusters, what="by chance, nats", how=expected_information)
    table.add("entropy", digits, clusters, what="of the clusters, nats", how=entropy_of_clusters)
    table.add("contingency_matrix", digits, clusters, what="purity", how=purity)
    names = [f"pairs {d} digit, {c} cluster" for d in ("other", "same") for c in ("other", "same")]
    table.add("pair_confusion_matrix", digits, clusters, what=names, how=pair_shares)

    fewer = min(settings.resamples, SILHOUETTE_RESAMPLES)
    table.add("silhouette_score", points, clusters, what=f"points drawn, {fewer} resamples", resamples=fewer)
    theirs = PEERS.silhouette_samples(points, clusters)
    # By the mean of the samples and not by their differences, so that an interval belongs to it.
    table.add("silhouette_samples", silhouettes, what="their mean", how=lambda _, x: x.mean(), theirs=theirs.mean())
    table.notes += [
        "All intervals are for these clusters; k-means does not run again.",
        "A point drawn twice is at distance 0 from itself: in resamples of silhouette_score distances within clusters"
        " are too small, and the interval lies too high. That of the mean of silhouette_samples leaves distances as"
        " they are: it is the spread of a mean over points, with the clusters around them held still.",
        "Mutual information of resamples leans upwards too: fewer distinct points agree more by chance.",
    ]
    return table
