"""Labels of any kind as integers: the sorted distinct labels, and for each sample the place of its own among them."""

import numpy as np

from fastcore.metrics.kernels import columns
from fastcore.metrics.kernels.integer_labels import encode_by_table, range_of


def encode(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct labels and codes.

    Parameters
    ----------
    labels : (N,) integers, bools, floats, fixed-width strings or objects, any stride and byte order

    Returns
    -------
    classes : (K,) as `numpy.unique` gives them: sorted, NaN once and last, -0.0 equal to 0.0
    codes : (N,) int32, or int64 where K may be beyond; ``classes[codes]`` equals labels

    Raises
    ------
    TypeError : objects that do not compare, as `numpy.unique` does
    """
    numbers = columns.readable(labels) if len(labels) else None
    if numbers is not None:
        found = range_of(numbers)
        encoded = None if found is None else encode_by_table(numbers, *found)
        if encoded is not None:
            return encoded[0].astype(labels.dtype, copy=False), encoded[1]
    classes, codes = np.unique(labels, return_inverse=True)
    return classes, codes
