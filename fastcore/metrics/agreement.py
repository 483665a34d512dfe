"""How far two clusterings agree: Rand indices, homogeneity, completeness and their V-measure, Fowlkes-Mallows."""

import math
from typing import Any

from fastcore._core import validate_clustering as validate
from fastcore.metrics.clusterings import COUNTS, INFORMATION, Comparison, compare_clusterings
from fastcore.metrics.contingency import pair_counts


def rand_score(labels_true: Any, labels_pred: Any) -> float:
    """Share of the pairs of samples that both clusterings put together, or both apart.

    Parameters
    ----------
    labels_true, labels_pred : (N,) labels of any kind

    Returns
    -------
    float, 0 to 1; 1 for no sample and for one

    Raises
    ------
    ValueError : not one axis, not of one length, NaN or infinite
    TypeError : bytes, or objects that cannot be compared

    Notes
    -----
    Source: Hubert and Arabie 1985, "Comparing Partitions". The numbers of scikit-learn's `rand_score`.
    """
    found = compare_clusterings(labels_true, labels_pred, COUNTS, "rand_score")
    (neither, only_pred), (only_true, both) = pair_counts(found)
    if only_pred == only_true == 0:
        return 1.0
    return (neither + both) / (neither + both + only_pred + only_true)


def adjusted_rand_score(labels_true: Any, labels_pred: Any) -> float:
    """Rand index, less what is expected by chance, over the most it can be.

    Parameters
    ----------
    labels_true, labels_pred : (N,) labels of any kind

    Returns
    -------
    float, -0.5 to 1; around 0 for independent labels, exactly 1 for equal clusterings

    Raises
    ------
    ValueError : not one axis, not of one length, NaN or infinite
    TypeError : bytes, or objects that cannot be compared

    Notes
    -----
    Source: Hubert and Arabie 1985, "Comparing Partitions". Pairs are counted in integers of any size. The numbers of
    scikit-learn's `adjusted_rand_score`.
    """
    found = compare_clusterings(labels_true, labels_pred, COUNTS, "adjusted_rand_score")
    (neither, only_pred), (only_true, both) = pair_counts(found)
    if only_pred == only_true == 0:
        return 1.0
    chance = (both + only_true) * (only_true + neither) + (both + only_pred) * (only_pred + neither)
    return 2 * (both * neither - only_true * only_pred) / chance


def homogeneity_completeness_v_measure(
    labels_true: Any, labels_pred: Any, *, beta: float = 1.0
) -> tuple[float, float, float]:
    """Homogeneity, completeness, and their weighted harmonic mean.

    Parameters
    ----------
    labels_true, labels_pred : (N,) labels of any kind
    beta : float, not negative; above 1 completeness counts more, below 1 homogeneity

    Returns
    -------
    homogeneity, completeness, v_measure : float, 0 to 1 each, all 1 for no sample. Exactly 1 where each cluster has
    samples of one class only, and each class of one cluster only.

    Raises
    ------
    ValueError : not one axis, not of one length, NaN or infinite; beta is negative
    TypeError : bytes, or objects that cannot be compared

    Notes
    -----
    Source: Rosenberg and Hirschberg 2007, "V-Measure". The numbers of scikit-learn's
    `homogeneity_completeness_v_measure`; with beta=0 and a single class, where that raises ZeroDivisionError, the
    V-measure is 0.
    """
    beta = validate.not_negative(beta, "beta", "homogeneity_completeness_v_measure")
    found = compare_clusterings(labels_true, labels_pred, INFORMATION, "homogeneity_completeness_v_measure")
    homogeneity, completeness = _homogeneity(found), _completeness(found)
    return homogeneity, completeness, _v_measure(homogeneity, completeness, beta)


def homogeneity_score(labels_true: Any, labels_pred: Any) -> float:
    """Share of the entropy of classes that clusters explain; arguments as `homogeneity_completeness_v_measure`."""
    return _homogeneity(compare_clusterings(labels_true, labels_pred, INFORMATION, "homogeneity_score"))


def completeness_score(labels_true: Any, labels_pred: Any) -> float:
    """Share of the entropy of clusters that classes explain; arguments as `homogeneity_completeness_v_measure`."""
    return _completeness(compare_clusterings(labels_true, labels_pred, INFORMATION, "completeness_score"))


def v_measure_score(labels_true: Any, labels_pred: Any, *, beta: float = 1.0) -> float:
    """Weighted harmonic mean of homogeneity and completeness, as `homogeneity_completeness_v_measure` has it."""
    beta = validate.not_negative(beta, "beta", "v_measure_score")
    found = compare_clusterings(labels_true, labels_pred, INFORMATION, "v_measure_score")
    return _v_measure(_homogeneity(found), _completeness(found), beta)


def _homogeneity(found: Comparison) -> float:
    share: float = found.mutual / found.entropy_true if found.classes > 1 else 1.0
    return share


def _completeness(found: Comparison) -> float:
    share: float = found.mutual / found.entropy_pred if found.clusters > 1 else 1.0
    return share


def _v_measure(homogeneity: float, completeness: float, beta: float) -> float:
    weighted = beta * homogeneity + completeness
    return (1 + beta) * homogeneity * completeness / weighted if weighted > 0.0 else 0.0


def fowlkes_mallows_score(labels_true: Any, labels_pred: Any) -> float:
    """Geometric mean of precision and recall of the pairs of samples that are put together.

    Parameters
    ----------
    labels_true, labels_pred : (N,) labels of any kind

    Returns
    -------
    float, 0 to 1; 0 where no pair is together in both

    Raises
    ------
    ValueError : not one axis, not of one length, NaN or infinite
    TypeError : bytes, or objects that cannot be compared

    Notes
    -----
    Source: Fowlkes and Mallows 1983, "A Method for Comparing Two Hierarchical Clusterings". The numbers of
    scikit-learn's `fowlkes_mallows_score`.
    """
    found = compare_clusterings(labels_true, labels_pred, COUNTS, "fowlkes_mallows_score")
    (_, only_pred), (only_true, both) = pair_counts(found)
    if both == 0:
        return 0.0
    return math.sqrt(both / (both + only_pred)) * math.sqrt(both / (both + only_true))
