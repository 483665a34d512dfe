"""Uplift among the highest scores, and in each percentile of them."""

import itertools
import sys
from typing import Any, NamedTuple

import numpy as np

from fastcore._core.validate_targets import boolean, option
from fastcore._core.validate_uplift import head_size, head_size_of_group, imported, number_of_bins, ranked_arguments
from fastcore.metrics.kernels.score_order import ranked_groups
from fastcore.metrics.warning import warn_undefined

_STRATEGIES = ("overall", "by_group")
# Codes are 2 * treatment + outcome.
_ALL, _CONTROL, _TREATED = (0, 1, 2, 3), (0, 1), (2, 3)


def uplift_at_k(y_true: Any, uplift: Any, treatment: Any, strategy: str, k: float = 0.3) -> float:
    """Response rate of the treated less that of control, among the rows with the highest scores.

    Parameters
    ----------
    y_true : (N,) outcomes, 0 or 1, as bools, integers or floats; both occur
    uplift : (N,) finite scores, higher first
    treatment : (N,) 0 for control and 1 for treated; both occur
    strategy : {'overall', 'by_group'}
        'overall': the first k of all rows; 'by_group': the first k of the treated and the first k of control.
    k : float in (0, 1), that share of the rows (of each group), rounded down, or int, their number

    Returns
    -------
    float, from -1 to 1; NaN where a group has no row among the first k

    Raises
    ------
    ValueError : lengths disagree, values other than 0 and 1, one outcome or one treatment only, scores that are not
        finite, k or strategy out of bounds, an int k of more rows than a group has
    TypeError : not numbers

    Warns
    -----
    UndefinedMetricWarning : NaN is returned

    Notes
    -----
    scikit-uplift's definition. Of equal scores the rows that come last count as higher, as there.
    """
    y, scores, flags = ranked_arguments(y_true, uplift, treatment)
    strategy = option(strategy, "strategy", _STRATEGIES, "uplift_at_k")
    ranking = _Ranking(y, scores, flags)
    if strategy == "overall":
        (counts,) = ranking.heads([head_size(k, y.size, "y_true")], _ALL)
    else:
        total, counts = ranking.totals, np.zeros(4, np.int64)
        for codes, group in ((_TREATED, "the treatment group"), (_CONTROL, "the control group")):
            rows = int(total[list(codes)].sum())
            size = head_size_of_group(k, y.size, rows, group)
            counts += ranking.heads([size], codes)[0]
    control, treated = counts[0] + counts[1], counts[2] + counts[3]
    if control == 0 or treated == 0:
        group = "control" if control == 0 else "treated"
        warn_undefined(f"uplift_at_k is undefined where no {group} rows are among the first k={k}, and is set to NaN.")
        return float("nan")
    return float(counts[3] / treated - counts[1] / control)


class UpliftByPercentile(NamedTuple):
    """Columns of `uplift_by_percentile`, from the highest scores to the lowest; the last row is the total if asked for.

    percentile : (B,) str such as '0-10', or integers, the upper end of each in percent; 'total'
    n_treatment, n_control : (B,) int64 rows
    response_rate_treatment, response_rate_control : (B,) float64, NaN without rows
    uplift : (B,) float64, their difference
    std_treatment, std_control, std_uplift : (B,) float64 standard errors of the three, or None
    """

    percentile: np.ndarray
    n_treatment: np.ndarray
    n_control: np.ndarray
    response_rate_treatment: np.ndarray
    response_rate_control: np.ndarray
    uplift: np.ndarray
    std_treatment: np.ndarray | None = None
    std_control: np.ndarray | None = None
    std_uplift: np.ndarray | None = None

    def to_frame(self) -> Any:
        """As scikit-uplift returns it: a pandas.DataFrame with the percentiles as index; pandas must be imported."""
        pandas = imported(sys.modules.get("pandas"), "pandas", "to_frame")
        columns = {name: column for name, column in self._asdict().items() if column is not None}
        return pandas.DataFrame(columns).set_index("percentile")


def uplift_by_percentile(
    y_true: Any,
    uplift: Any,
    treatment: Any,
    strategy: str = "overall",
    bins: int = 10,
    std: bool = False,
    total: bool = False,
    string_percentiles: bool = True,
    *,
    total_std: str = "sum",
) -> UpliftByPercentile:
    """Group sizes, response rates and uplift in each percentile of the scores.

    Parameters
    ----------
    y_true, uplift, treatment : as in `uplift_at_k`
    strategy : {'overall', 'by_group'}
        'overall': all rows by falling score are cut into `bins` parts; 'by_group': those of each group are.
    bins : int, at least 1 and less than N; the first N % bins parts have one row more
    std : whether to give standard errors: sqrt(rate * (1 - rate) / rows), and of the uplift the root of their squares
    total : whether to append a row for all rows
    string_percentiles : whether percentiles are strings such as '10-20', or integers, the upper end
    total_std : {'sum', 'all_rows'}
        Standard errors of the total. 'sum', scikit-uplift's, adds those of the bins, which is not an error of anything;
        'all_rows' applies the formula to all rows.

    Returns
    -------
    UpliftByPercentile, a named tuple of arrays, with `to_frame()`

    Raises
    ------
    ValueError : as `uplift_at_k`; bins, flags or options of a wrong kind or value
    TypeError : not numbers

    Warns
    -----
    UndefinedMetricWarning : a bin has no rows of a group; its rate and uplift are NaN

    Notes
    -----
    scikit-uplift's definition, also in that of equal scores the rows that come last count as higher. Sizes are int64,
    where it has int32.
    """
    y, scores, flags = ranked_arguments(y_true, uplift, treatment)
    function = "uplift_by_percentile"
    strategy = option(strategy, "strategy", _STRATEGIES, function)
    total, std = boolean(total, "total", function), boolean(std, "std", function)
    total_std = option(total_std, "total_std", ("sum", "all_rows"), function)
    bins = number_of_bins(bins, y.size)
    string_percentiles = boolean(string_percentiles, "string_percentiles", function)

    ranking = _Ranking(y, scores, flags)
    if strategy == "overall":
        counts = ranking.parts(bins, _ALL)
    else:
        counts = ranking.parts(bins, _CONTROL) + ranking.parts(bins, _TREATED)
    if not counts.reshape(bins, 2, 2).sum(2).all():
        warn_undefined("uplift_by_percentile: a bin has no rows of a group, and its response rate is set to NaN.")
    columns = _columns(np.vstack([counts, ranking.totals[None]]) if total else counts)
    errors = [columns.pop(name) for name in ("std_treatment", "std_control", "std_uplift")]
    if total and total_std == "sum":
        for error in errors:
            error[-1] = error[:-1].sum()
    return UpliftByPercentile(_percentiles(bins, total, string_percentiles), **columns, **_named(errors) if std else {})


def _named(errors: list[np.ndarray]) -> dict[str, np.ndarray]:
    return dict(zip(("std_treatment", "std_control", "std_uplift"), errors))


def _percentiles(bins: int, total: bool, as_strings: bool) -> np.ndarray:
    ends = [round(100 * i / bins) for i in range(bins + 1)]
    if not as_strings:
        return np.array([*ends[1:], "total"], dtype=object) if total else np.array(ends[1:])
    names = [f"{low}-{high}" for low, high in itertools.pairwise(ends)]
    return np.array([*names, "total"] if total else names)


def _columns(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Sizes, rates, uplift and standard errors of (B, 4) rows by code."""
    control, treated = counts[:, 0] + counts[:, 1], counts[:, 2] + counts[:, 3]
    with np.errstate(invalid="ignore", divide="ignore"):  # parts without rows of a group are NaN
        rate_t, rate_c = counts[:, 3] / treated, counts[:, 1] / control
        square_t, square_c = rate_t * ((1 - rate_t) / treated), rate_c * ((1 - rate_c) / control)
    return {
        "n_treatment": treated,
        "n_control": control,
        "response_rate_treatment": rate_t,
        "response_rate_control": rate_c,
        "uplift": rate_t - rate_c,
        "std_treatment": np.sqrt(square_t),
        "std_control": np.sqrt(square_c),
        "std_uplift": np.sqrt(square_t + square_c),
    }


class _Ranking:
    """Rows by falling score, the last first where scores are equal; known by counts at distinct scores."""

    def __init__(self, y: np.ndarray, scores: np.ndarray, flags: np.ndarray) -> None:
        self._scores = scores
        self._codes = 2 * flags + y
        self._distinct, self._counts = ranked_groups(scores, self._codes, 4)
        self.totals = self._counts[-1]

    def heads(self, sizes: list[int], codes: tuple[int, ...]) -> np.ndarray:
        """(len(sizes), 4) rows by code among the first so many of those with one of `codes`; sizes do not fall."""
        columns = list(codes)
        rows = self._counts[:, columns].sum(1)
        result = np.zeros((len(sizes), 4), np.int64)
        tied, members = -1, np.empty(0, np.uint8)
        for i, (size, group) in enumerate(zip(sizes, np.searchsorted(rows, sizes))):
            before = rows[group - 1] if group else 0
            result[i] = self._counts[group] if rows[group] == size else self._counts[group - 1] if group else 0
            if before < size < rows[group]:  # the boundary cuts a score: its last rows come first
                if tied != group:
                    mask = self._scores == self._distinct[group]
                    members = self._codes[mask][::-1]
                    members, tied = members[np.isin(members, columns)], group
                result[i] += np.bincount(members[: size - before], minlength=4)
        others = [code for code in _ALL if code not in codes]
        result[:, others] = 0
        return result

    def parts(self, bins: int, codes: tuple[int, ...]) -> np.ndarray:
        """(bins, 4) rows by code in each of so many parts of those with one of `codes`."""
        rows = int(self.totals[list(codes)].sum())
        larger = rows % bins
        ends = [rows // bins * i + min(i, larger) for i in range(1, bins + 1)]
        return np.diff(self.heads(ends, codes), axis=0, prepend=0)
