"""Uplift metrics from their definitions: NumPy, one sort, cumulative counts at distinct scores.

Rows are in one of four groups, code = 2 * treatment + outcome: 0 control without response, 1 control with, 2 treated
without, 3 treated with. Sorted by falling score, rows of one score are one step: the curves have a point before the
first and after each distinct score, and between them they are straight.

What a compiled ``uplift_area(y_true, uplift, treatment, curve)`` must return is written at `uplift_area`: the raw area
and the four totals. Perfect curve, diagonal and ratio follow from these (`score_from_area`) and need no second sort.
"""

import math
from typing import Any, NamedTuple

import numpy as np

# Curves over a joint order of both groups, as the number that a kernel gets.
QINI, UPLIFT = 0, 1


def codes_of(y_true: Any, treatment: Any) -> np.ndarray:
    """(N,) uint8, 2 * treatment + outcome."""
    return (2 * (np.asarray(treatment) == 1) + (np.asarray(y_true) == 1)).astype(np.uint8)


def ranked_counts(uplift: Any, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(G,) distinct scores, falling, and (G, 4) int64 rows of each code with that score or a higher one."""
    scores, group = np.unique(np.asarray(uplift), return_inverse=True)
    counts = np.zeros((scores.size, 4), np.int64)
    np.add.at(counts, (group, codes), 1)
    return scores[::-1], counts[::-1].cumsum(0)


def qini_values(counts: np.ndarray) -> np.ndarray:
    """(G,) treated responses less control responses, these scaled to the treated rows of the same scores.

    yt - yc * (nt / nc), and yt where there are no control rows yet. Counts are cumulative: nt treated and nc control
    rows, yt and yc of them with a response. Radcliffe 2007, "Using control groups to target on predicted lift".
    """
    nc, nt, yc, yt = _sizes_and_responses(counts)
    return yt - yc * np.divide(nt, nc, out=np.zeros(nt.shape), where=nc > 0)


def uplift_values(counts: np.ndarray) -> np.ndarray:
    """(G,) (yt / nt - yc / nc) * n, a rate being 0 where there are no rows; n = nt + nc."""
    nc, nt, yc, yt = _sizes_and_responses(counts)
    treated = np.divide(yt, nt, out=np.zeros(nt.shape), where=nt > 0)
    control = np.divide(yc, nc, out=np.zeros(nc.shape), where=nc > 0)
    return (treated - control) * (nt + nc)


def scaled_values(counts: np.ndarray) -> np.ndarray:
    """(G,) yt - yc * NT / NC: control responses scaled by the sizes of the whole groups (pylift's "qini")."""
    nc, nt, yc, yt = _sizes_and_responses(counts)
    return yt - yc * (nt[-1] / nc[-1])


def _sizes_and_responses(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    c = np.asarray(counts)
    return c[..., 0] + c[..., 1], c[..., 2] + c[..., 3], c[..., 1], c[..., 3]


def from_origin(counts: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The curve: number of rows (G + 1,) int64, values (G + 1,) float64, beginning at (0, 0)."""
    return np.concatenate([[0], counts.sum(-1)]), np.concatenate([[0.0], values])


def area_under(x: np.ndarray, y: np.ndarray) -> float:
    """Trapezoids."""
    return math.fsum(np.diff(x) * (y[1:] + y[:-1]) / 2)


class Area(NamedTuple):
    """What a kernel returns; ``status`` 0 is good, and nothing else counts if it is not."""

    status: int
    area: float
    control_without: int
    control_with: int
    treated_without: int
    treated_with: int


def uplift_area(y_true: Any, uplift: Any, treatment: Any, curve: int) -> Area:
    """The area under a curve in its raw units, rows times responses, and how many rows are in each group.

    Parameters
    ----------
    y_true, treatment : (N,) 0 or 1, of any real dtype
    uplift : (N,) finite
    curve : QINI, the area under `qini_values`, or UPLIFT, under `uplift_values`

    Returns
    -------
    Area, a plain tuple will do. The area is the sum over distinct scores g of (x[g] - x[g-1]) * (v[g] + v[g-1]) / 2,
    where x[g] is the number of rows down to score g and v[g] the value there, x[-1] = v[-1] = 0. status: 0 good, 1 the
    lengths differ, 2 y_true is not 0 or 1, 3 treatment is not, 4 a score is not finite. Whether both outcomes and both
    treatments occur is the caller's to see from the totals.

    Notes
    -----
    While only rows of one treated code (2 or 3) follow each other, whatever their scores, `qini_values` is a straight
    line over x: ties among them change nothing, and a run of m rows is one trapezoid. Rows of control codes bend it.
    """
    codes = codes_of(y_true, treatment)
    _, counts = ranked_counts(uplift, codes)
    values = qini_values(counts) if curve == QINI else uplift_values(counts)
    return Area(0, area_under(*from_origin(counts, values)), *(int(n) for n in np.bincount(codes, minlength=4)))


def perfect_counts(totals: Any, curve: int) -> np.ndarray:
    """(K, 4) cumulative counts in the order of the best possible scores, steps without rows included.

    Qini: treated responses, then all without a response, then control responses. Uplift: treated responses, control
    without, and then control responses before treated without where they outnumber them, else the other way round.
    """
    c0, c1, t0, t1 = (int(n) for n in totals)
    if curve == QINI:
        steps = [[0, 0, 0, t1], [c0, 0, t0, 0], [0, c1, 0, 0]]
    else:
        last = [[0, c1, 0, 0], [0, 0, t0, 0]]
        steps = [[0, 0, 0, t1], [c0, 0, 0, 0], *(last if c1 > t0 else last[::-1])]
    return np.cumsum(steps, axis=0)


def perfect_qini_curve(totals: Any, negative_effect: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """The best Qini curve. Without negative effects it rises by one a row to its last value and stays there."""
    if negative_effect:
        counts = perfect_counts(totals, QINI)
        return from_origin(counts, qini_values(counts))
    c0, c1, t0, t1 = (int(n) for n in totals)
    last = t1 - (t0 + t1) * c1 / (c0 + c1)
    return np.array([0, last, c0 + c1 + t0 + t1]), np.array([0, last, last])


def perfect_uplift_curve(totals: Any) -> tuple[np.ndarray, np.ndarray]:
    """The best uplift curve."""
    counts = perfect_counts(totals, UPLIFT)
    return from_origin(counts, uplift_values(counts))


def score_of(area: float, rows: int, last: float, perfect_area: float | None, normalization: str = "perfect") -> float:
    """The area between a curve and the diagonal to its last point, in one of three units.

    "perfect": over the same area of the perfect curve (scikit-uplift). "total": over rows * |last value| (causalml's
    Qini score). "none": raw, in rows times responses.
    """
    above = area - rows * last / 2
    if normalization == "perfect":
        return above / (perfect_area - rows * last / 2) if perfect_area is not None else math.nan
    return above / (rows * abs(last)) if normalization == "total" else above


def qini_curve(y_true: Any, uplift: Any, treatment: Any, *, adjustment: str = "cumulative") -> Any:
    """Twin of `fastcore.metrics.qini_curve`."""
    _, counts = ranked_counts(uplift, codes_of(y_true, treatment))
    return from_origin(counts, qini_values(counts) if adjustment == "cumulative" else scaled_values(counts))


def qini_auc_score(
    y_true: Any,
    uplift: Any,
    treatment: Any,
    negative_effect: bool = True,
    *,
    adjustment: str = "cumulative",
    normalization: str = "perfect",
) -> float:
    """Twin of `fastcore.metrics.qini_auc_score`."""
    x, y = qini_curve(y_true, uplift, treatment, adjustment=adjustment)
    totals = np.bincount(codes_of(y_true, treatment), minlength=4)
    best_x, best_y = perfect_qini_curve(totals, negative_effect)
    if negative_effect and adjustment == "total":
        best_y = np.concatenate([[0.0], scaled_values(perfect_counts(totals, QINI))])
    return score_of(area_under(x, y), x[-1], y[-1], area_under(best_x, best_y), normalization)


def uplift_curve(y_true: Any, uplift: Any, treatment: Any, *, ordering: str = "joint") -> Any:
    """Twin of `fastcore.metrics.uplift_curve`."""
    _, counts = ranked_counts(uplift, codes_of(y_true, treatment))
    return from_origin(counts, uplift_values(counts)) if ordering == "joint" else separate_curve(counts)


def separate_curve(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best share p of each group by itself: (yt(p) / NT - yc(p) / NC) * N over p * N.

    A point at each share that ends a score in either group; a group's responses are straight between its own.
    """
    nc, nt, yc, yt = _sizes_and_responses(np.concatenate([np.zeros((1, 4), np.int64), counts]))
    share = np.unique(np.concatenate([nt * int(nc[-1]), nc * int(nt[-1])])) / (int(nc[-1]) * int(nt[-1]))
    (knots_t, first_t), (knots_c, first_c) = np.unique(nt, return_index=True), np.unique(nc, return_index=True)
    treated = np.interp(share, knots_t / nt[-1], yt[first_t] / nt[-1])
    control = np.interp(share, knots_c / nc[-1], yc[first_c] / nc[-1])
    rows = nt[-1] + nc[-1]
    return share * rows, (treated - control) * rows


def uplift_auc_score(
    y_true: Any, uplift: Any, treatment: Any, *, ordering: str = "joint", normalization: str = "perfect"
) -> float:
    """Twin of `fastcore.metrics.uplift_auc_score`."""
    x, y = uplift_curve(y_true, uplift, treatment, ordering=ordering)
    totals = np.bincount(codes_of(y_true, treatment), minlength=4)
    best = perfect_uplift_curve(totals) if ordering == "joint" else separate_curve(perfect_counts(totals, UPLIFT))
    return score_of(area_under(x, y), x[-1], y[-1], area_under(*best), normalization)


def falling_order(uplift: Any) -> np.ndarray:
    """Rows by falling score; of equal ones the last comes first, as in scikit-uplift."""
    return np.argsort(np.asarray(uplift), kind="stable")[::-1]


def uplift_at_k(y_true: Any, uplift: Any, treatment: Any, strategy: str, k: float = 0.3) -> float:
    """Twin of `fastcore.metrics.uplift_at_k`."""
    order = falling_order(uplift)
    y, t = np.asarray(y_true)[order].astype(float), np.asarray(treatment)[order] == 1
    if strategy == "overall":
        head = k if isinstance(k, int) else int(y.size * k)
        treated, control = y[:head][t[:head]], y[:head][~t[:head]]
    else:
        treated, control = (group[: k if isinstance(k, int) else int(group.size * k)] for group in (y[t], y[~t]))
    return treated.mean() - control.mean()


def uplift_by_percentile(
    y_true: Any, uplift: Any, treatment: Any, strategy: str = "overall", bins: int = 10
) -> dict[str, np.ndarray]:
    """The numbers of `fastcore.metrics.uplift_by_percentile`, each (bins,), by name."""
    order = falling_order(uplift)
    y, t = np.asarray(y_true)[order].astype(float), np.asarray(treatment)[order] == 1
    if strategy == "overall":
        parts = list(zip(np.array_split(y, bins), np.array_split(t, bins)))
        treated, control = [part[flag] for part, flag in parts], [part[~flag] for part, flag in parts]
    else:
        treated, control = np.array_split(y[t], bins), np.array_split(y[~t], bins)
    result: dict[str, np.ndarray] = {}
    for name, groups in (("treatment", treated), ("control", control)):
        size = np.array([len(group) for group in groups])
        rate = np.array([group.mean() if group.size else math.nan for group in groups])
        result |= {f"n_{name}": size, f"response_rate_{name}": rate}
        result[f"std_{name}"] = np.sqrt(rate * (1 - rate) / np.where(size, size, math.nan))
    result["uplift"] = result["response_rate_treatment"] - result["response_rate_control"]
    result["std_uplift"] = np.sqrt(result["std_treatment"] ** 2 + result["std_control"] ** 2)
    return result


def uplift(y: Any, treatment: Any) -> float:
    """P(y = 1 | treated) - P(y = 1 | control)."""
    y, treated = np.asarray(y) == 1, np.asarray(treatment) == 1
    return y[treated].mean() - y[~treated].mean()


def average_treatment_effect(outcome: Any, treatment: Any, *, pairs: Any = None) -> tuple[float, float]:
    """Effect and standard error: E[Y | treated] - E[Y | control], or the mean difference within pairs."""
    y, treated = np.asarray(outcome, np.float64), np.asarray(treatment) == 1
    if pairs is None:
        one, zero = y[treated], y[~treated]
        return one.mean() - zero.mean(), math.sqrt(one.var(ddof=1) / one.size + zero.var(ddof=1) / zero.size)
    labels = np.unique(pairs)
    pairs = np.asarray(pairs)
    differences = np.array([(y[treated & (pairs == p)] - y[~treated & (pairs == p)]).item() for p in labels])
    return differences.mean(), differences.std(ddof=1) / math.sqrt(labels.size)
