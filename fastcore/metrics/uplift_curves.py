"""Uplift and Qini curves, and the areas under them."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastcore._core.validate_targets import boolean, option
from fastcore._core.validate_uplift import positive_total_effect, ranked_arguments
from fastcore.metrics.kernels.score_order import ranked_groups
from fastcore.metrics.kernels.uplift_area import QINI, UPLIFT, uplift_area
from fastcore.metrics.warning import warn_undefined

_ndarray = np.ndarray
_NORMALIZATIONS = ("perfect", "total", "none")


def qini_curve(
    y_true: Any, uplift: Any, treatment: Any, *, adjustment: str = "cumulative"
) -> tuple[np.ndarray, np.ndarray]:
    """Responses gained by treating the rows with the highest scores, over the number of these rows.

    Parameters
    ----------
    y_true : (N,) outcomes, 0 or 1, as bools, integers or floats; both occur
    uplift : (N,) finite scores, higher first; any real dtype, integers beyond 2**53 without loss
    treatment : (N,) 0 for control and 1 for treated; both occur
    adjustment : {'cumulative', 'total'}, what makes the control group's responses comparable
        'cumulative': yt - yc * nt / nc, with treated and control rows down to the same score; yt where there is no
        control row. Radcliffe's adjusted counts, as in scikit-uplift and causalml, and pylift's "aqini" times NT.
        'total': yt - yc * NT / NC, with the sizes of the whole groups. pylift's "qini" times NT.

    Returns
    -------
    rows : (G + 1,) int64, the number of rows down to each distinct score, from 0 to N
    gained : (G + 1,) float64, treated responses yt less adjusted control responses yc, from 0

    Raises
    ------
    ValueError : lengths disagree, values other than 0 and 1, one outcome or one treatment only, scores that are not
        finite, an unknown adjustment
    TypeError : not numbers

    Notes
    -----
    Radcliffe 2007, "Using control groups to target on predicted lift", Direct Marketing Analytics Journal 3, 14-21.
    Rows of equal scores are one step, whatever their order.
    """
    y, scores, flags = ranked_arguments(y_true, uplift, treatment)
    return _qini_curve(_cumulative(y, scores, flags), adjustment)


def _qini_curve(counts: np.ndarray, adjustment: Any) -> tuple[np.ndarray, np.ndarray]:
    adjustment = option(adjustment, "adjustment", ("cumulative", "total"), "qini_curve")
    return _curve(counts, _qini if adjustment == "cumulative" else _qini_by_totals)


def qini_auc_score(
    y_true: Any,
    uplift: Any,
    treatment: Any,
    negative_effect: bool = True,
    *,
    adjustment: str = "cumulative",
    normalization: str = "perfect",
) -> float:
    """Area between the Qini curve and the diagonal to its end, by default over that of the perfect curve.

    Parameters
    ----------
    y_true, uplift, treatment, adjustment : as in `qini_curve`
    negative_effect : whether the perfect curve may fall: treated responses first, control responses last. Without, it
        rises by one a row to the total effect and stays there.
    normalization : {'perfect', 'total', 'none'}, what the area is divided by
        'perfect': the same area of the perfect curve, 1 being the best; scikit-uplift's. 'total': N times the absolute
        last value, as causalml's `qini_score` does. 'none': nothing, rows times responses; over N * NT it is
        Radcliffe's and pylift's q.

    Returns
    -------
    float; 0 for random scores. NaN or infinite where the divisor is zero.

    Raises
    ------
    ValueError : as `qini_curve`; with negative_effect=False a total effect below zero
    TypeError : not numbers

    Warns
    -----
    UndefinedMetricWarning : the divisor is zero

    Notes
    -----
    scikit-uplift's definition by default. The perfect curve follows from four counts. scikit-uplift builds it from
    y_true * treatment - y_true * (1 - treatment), which wraps around in unsigned dtypes; counts do not.
    """
    # The short way: one compiled call, no arrays. What it does not take goes on to what has the messages.
    if (
        type(y_true) is type(uplift) is type(treatment) is _ndarray
        and negative_effect is True
        and adjustment == "cumulative"
        and normalization == "perfect"
    ):
        status, area, *totals = uplift_area(y_true, uplift, treatment, QINI)
        if status == 0 and _has_all(totals):
            random = sum(totals) * _last_qini(*totals) / 2
            best = _perfect_qini_area(*totals) - random
            if best != 0.0:
                return float((area - random) / best)
    return _qini_auc_score(y_true, uplift, treatment, negative_effect, adjustment, normalization)


def _qini_auc_score(
    y_true: Any, uplift: Any, treatment: Any, negative_effect: Any, adjustment: Any, normalization: Any
) -> float:
    """`qini_auc_score` for any arguments."""
    y, scores, flags = ranked_arguments(y_true, uplift, treatment)
    if isinstance(adjustment, str) and adjustment == "cumulative":
        _, area, *totals = uplift_area(y, scores, flags, QINI)
        return _qini_score(area, totals, negative_effect, normalization)
    return _qini_score_of_counts(_cumulative(y, scores, flags), negative_effect, adjustment, normalization)


def _qini_score_of_counts(counts: np.ndarray, negative_effect: Any, adjustment: Any, normalization: Any) -> float:
    adjustment = option(adjustment, "adjustment", ("cumulative", "total"), "qini_auc_score")
    area = _area(*_curve(counts, _qini if adjustment == "cumulative" else _qini_by_totals))
    return _qini_score(area, counts[-1].tolist(), negative_effect, normalization)


def _qini_score(area: float, totals: Any, negative_effect: Any, normalization: Any) -> float:
    function = "qini_auc_score"
    negative_effect = boolean(negative_effect, "negative_effect", function)
    normalization = option(normalization, "normalization", _NORMALIZATIONS, function)
    if negative_effect or normalization != "perfect":
        best = _perfect_qini_area(*totals)
    else:
        last = _last_qini(*totals)
        positive_total_effect(last)
        best = last * (sum(totals) - last / 2)
    return _score(area, best, totals, _last_qini(*totals), normalization, function)


def uplift_curve(y_true: Any, uplift: Any, treatment: Any, *, ordering: str = "joint") -> tuple[np.ndarray, np.ndarray]:
    """Difference of response rates among the rows with the highest scores times their number, over their number.

    Parameters
    ----------
    y_true, uplift, treatment : as in `qini_curve`
    ordering : {'joint', 'separate'}, whose highest scores
        'joint': (yt / nt - yc / nc) * n, of the n highest of all rows, nt of them treated and nc control; a rate is 0
        where there are no rows. scikit-uplift's, causalml's "gain", and pylift's "cgains" times N.
        'separate': (yt / NT - yc / NC) * N, with responses yt and yc in the same share p of the highest scores of each
        group by itself, over p * N.

    Returns
    -------
    rows : (G + 1,) numbers of rows from 0 to N: int64, float64 with 'separate', which has a point wherever either
        group's score changes
    gained : (G + 1,) float64, from 0

    Raises
    ------
    ValueError, TypeError : as `qini_curve`

    Notes
    -----
    Devriendt, Guns and Verbeke 2020, "Learning to rank for uplift modeling" (arXiv 2002.05897), table 2, absolute
    values. Rows of equal scores are one step, whatever their order.
    """
    y, scores, flags = ranked_arguments(y_true, uplift, treatment)
    return _uplift_curve(_cumulative(y, scores, flags), ordering)


def _uplift_curve(counts: np.ndarray, ordering: Any) -> tuple[np.ndarray, np.ndarray]:
    ordering = option(ordering, "ordering", ("joint", "separate"), "uplift_curve")
    return _curve(counts, _uplift) if ordering == "joint" else _separate_curve(counts)


def uplift_auc_score(
    y_true: Any, uplift: Any, treatment: Any, *, ordering: str = "joint", normalization: str = "perfect"
) -> float:
    """Area between the uplift curve and the diagonal to its end, by default over that of the perfect curve.

    Parameters
    ----------
    y_true, uplift, treatment, ordering : as in `uplift_curve`
    normalization : {'perfect', 'total', 'none'}, as in `qini_auc_score`

    Returns
    -------
    float; 0 for random scores. NaN or infinite where the divisor is zero.

    Raises
    ------
    ValueError, TypeError : as `qini_curve`

    Warns
    -----
    UndefinedMetricWarning : the divisor is zero

    Notes
    -----
    scikit-uplift's definition by default, also of the perfect curve: treated responses, control rows without one, then
    control responses before treated rows without one if they outnumber them, else the other way round. With a joint
    ordering no order is best for all data, and scores above 1 occur; the perfect 'separate' curve is.
    """
    # The short way, as in `qini_auc_score`.
    if (
        type(y_true) is type(uplift) is type(treatment) is _ndarray
        and ordering == "joint"
        and normalization == "perfect"
    ):
        status, area, *totals = uplift_area(y_true, uplift, treatment, UPLIFT)
        if status == 0 and _has_all(totals):
            random = sum(totals) * _last_uplift(*totals) / 2
            best = _perfect_uplift_area(*totals) - random
            if best != 0.0:
                return float((area - random) / best)
    return _uplift_auc_score(y_true, uplift, treatment, ordering, normalization)


def _uplift_auc_score(y_true: Any, uplift: Any, treatment: Any, ordering: Any, normalization: Any) -> float:
    """`uplift_auc_score` for any arguments."""
    y, scores, flags = ranked_arguments(y_true, uplift, treatment)
    if isinstance(ordering, str) and ordering == "joint":
        _, area, *totals = uplift_area(y, scores, flags, UPLIFT)
        return _uplift_score(area, _perfect_uplift_area(*totals), totals, normalization)
    return _uplift_score_of_counts(_cumulative(y, scores, flags), ordering, normalization)


def _uplift_score_of_counts(counts: np.ndarray, ordering: Any, normalization: Any) -> float:
    ordering = option(ordering, "ordering", ("joint", "separate"), "uplift_auc_score")
    totals = counts[-1].tolist()
    if ordering == "joint":
        return _uplift_score(_area(*_curve(counts, _uplift)), _perfect_uplift_area(*totals), totals, normalization)
    nc, nt, yc, yt = _sizes_and_responses(counts)
    rows = sum(totals)
    area = rows**2 * (_share_area(nt, yt) - _share_area(nc, yc))
    rate_t, rate_c = yt[-1] / nt[-1], yc[-1] / nc[-1]
    return _uplift_score(area, float(rows**2 * (rate_t - rate_t**2 / 2 - rate_c**2 / 2)), totals, normalization)


def _uplift_score(area: float, best: float, totals: Any, normalization: Any) -> float:
    normalization = option(normalization, "normalization", _NORMALIZATIONS, "uplift_auc_score")
    return _score(area, best, totals, _last_uplift(*totals), normalization, "uplift_auc_score")


def _score(area: float, best: float, totals: Any, last: float, normalization: str, function: str) -> float:
    """Area over the diagonal in the units of ``normalization``; ``best`` is the area under the perfect curve."""
    random = sum(totals) * last / 2
    above = area - random
    if normalization == "none":
        return float(above)
    divisor = best - random if normalization == "perfect" else sum(totals) * abs(last)
    if divisor == 0.0:
        what = "the perfect curve has no area over the diagonal" if normalization == "perfect" else "the effect is zero"
        warn_undefined(f"{function} is undefined where {what}.", stacklevel=5)
        return math.copysign(math.inf, above) if above else math.nan
    return float(above / divisor)


# --- curves -----------------------------------------------------------------------------------------------------------


def _cumulative(y: np.ndarray, scores: np.ndarray, flags: np.ndarray) -> np.ndarray:
    """(G, 4) rows by code with a distinct score, falling, or a higher one."""
    counts: np.ndarray = ranked_groups(scores, 2 * flags + y, 4)[1]
    return counts


def _sizes_and_responses(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(control rows, treated rows, control responses, treated responses)."""
    return counts[:, 0] + counts[:, 1], counts[:, 2] + counts[:, 3], counts[:, 1], counts[:, 3]


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, and 0 where b is."""
    return np.divide(a, b, out=np.zeros(len(a)), where=b != 0)


def _qini(counts: np.ndarray) -> np.ndarray:
    nc, nt, yc, yt = _sizes_and_responses(counts)
    return yt - yc * _ratio(nt, nc)


def _qini_by_totals(counts: np.ndarray) -> np.ndarray:
    nc, nt, yc, yt = _sizes_and_responses(counts)
    return yt - yc * (nt[-1] / nc[-1])


def _uplift(counts: np.ndarray) -> np.ndarray:
    nc, nt, yc, yt = _sizes_and_responses(counts)
    return (_ratio(yt, nt) - _ratio(yc, nc)) * (nt + nc)


def _curve(counts: np.ndarray, values: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and values from (0, 0) on."""
    return np.concatenate([[0], counts.sum(1)]), np.concatenate([[0.0], values(counts)])


def _separate_curve(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The curve of 'separate' ordering: the difference of two that are straight between their own points."""
    nc, nt, yc, yt = _sizes_and_responses(np.vstack([np.zeros((1, 4), np.int64), counts]))
    # Shares over a common denominator are integers, so that equal ones are found equal.
    treated, control = int(nt[-1]), int(nc[-1])
    points = np.union1d(nt * control, nc * treated)
    gained = np.interp(points, nt * control, yt / treated) - np.interp(points, nc * treated, yc / control)
    rows = treated + control
    return points * (rows / (treated * control)), gained * rows


def _area(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1])) / 2)


def _share_area(rows: np.ndarray, responses: np.ndarray) -> float:
    """Area under a group's share of responses over its share of rows; both from its totals."""
    x, y = np.concatenate([[0], rows]), np.concatenate([[0], responses])
    return _area(x, y) / float(rows[-1]) ** 2


# --- what follows from the totals -------------------------------------------------------------------------------------


def _has_all(totals: Any) -> bool:
    """Whether both outcomes and both treatments occur."""
    c0, c1, t0, t1 = totals
    return bool(c0 + c1 and t0 + t1 and c0 + t0 and c1 + t1)


def _last_qini(c0: int, c1: int, t0: int, t1: int) -> float:
    return t1 - c1 * ((t0 + t1) / (c0 + c1))


def _last_uplift(c0: int, c1: int, t0: int, t1: int) -> float:
    return (t1 / (t0 + t1) - c1 / (c0 + c1)) * (c0 + c1 + t0 + t1)


def _perfect_qini_area(c0: int, c1: int, t0: int, t1: int) -> float:
    """Treated responses first, up by one a row; then all rows without a response; then control responses."""
    return t1 * t1 / 2 + (c0 + t0) * t1 + c1 * (t1 + _last_qini(c0, c1, t0, t1)) / 2


def _perfect_uplift_area(c0: int, c1: int, t0: int, t1: int) -> float:
    """Four steps: treated responses, control rows without, and the other two by their numbers."""
    first = float(t1)
    second = float(t1 + c0) if t1 else 0.0
    if c1 > t0:
        width, third = c1, ((1.0 if t1 else 0.0) - c1 / (c0 + c1)) * (t1 + c0 + c1)
    else:
        width, third = t0, t1 / (t0 + t1) * (t1 + c0 + t0)
    last, rest = _last_uplift(c0, c1, t0, t1), t0 + c1 - width
    return (t1 * first + c0 * (first + second) + width * (second + third) + rest * (third + last)) / 2


# Each metric from cumulative counts (G, 4) of rows by code, and its options by name.
METRICS_OF_COUNTS: dict[str, Callable[..., Any]] = {
    "qini_curve": _qini_curve,
    "qini_auc_score": _qini_score_of_counts,
    "uplift_curve": _uplift_curve,
    "uplift_auc_score": _uplift_score_of_counts,
}
