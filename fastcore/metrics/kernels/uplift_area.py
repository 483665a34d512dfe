"""Areas under uplift and Qini curves."""

from typing import Any

import numpy as np

from fastcore.reference import metrics_uplift as reference

QINI, UPLIFT = reference.QINI, reference.UPLIFT
DTYPES = (np.float32, np.float64, np.int64)


def ranked_groups(score: np.ndarray, code: np.ndarray, num_codes: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct scores, falling, and the (G, num_codes) cumulative counts of codes; stands in for the compiled one."""
    return reference.ranked_counts(score, code)


def uplift_area(y_true: np.ndarray, uplift: np.ndarray, treatment: np.ndarray, curve: int) -> Any:
    """`reference.metrics_uplift.uplift_area`; stands in for the compiled one, which also takes what is no uint8."""
    if y_true.dtype != np.uint8 or treatment.dtype != np.uint8 or uplift.dtype not in DTYPES:
        return (2, 0.0, 0, 0, 0, 0)
    if not len(y_true) == len(uplift) == len(treatment) > 0 or max(y_true.max(), treatment.max()) > 1:
        return (1, 0.0, 0, 0, 0, 0)
    return (
        reference.uplift_area(y_true, uplift, treatment, curve) if np.isfinite(uplift).all() else (4, 0.0, 0, 0, 0, 0)
    )
