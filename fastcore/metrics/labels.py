"""Labels of any kind as integers: the sorted distinct labels, and for each sample the place of its own among them."""

import numpy as np

from fastcore.metrics.kernels import columns
from fastcore.metrics.kernels.distinct_items import chunk_of, encode_items, sort_labels
from fastcore.metrics.kernels.integer_labels import encode_by_table, range_of
from fastcore.metrics.kernels.object_labels import encode_objects

# Of numbers, of which most are distinct, sorting all takes a third of the time of a hash table larger than the caches.
MOST_DISTINCT = 0.75


def _encode_numbers(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """`encode`; None where NumPy is as fast, or knows the kind of number and kernels do not."""
    numbers = columns.readable(labels)
    if numbers is None:
        return None
    found = range_of(numbers)
    encoded = None if found is None else encode_by_table(numbers, *found)
    if encoded is None:
        encoded = encode_items(numbers, sort_labels, most=int(MOST_DISTINCT * chunk_of(len(numbers))))
    return None if encoded is None else (encoded[0].astype(labels.dtype, copy=False), encoded[1])


def encode(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct labels and codes.

    Parameters
    ----------
    labels : (N,) integers, bools, floats, fixed-width strings or objects, any stride and byte order

    Returns
    -------
    classes : (K,) as `numpy.unique` gives them: sorted, NaN once and last, -0.0 equal to 0.0
    codes : (N,) int32, or intp where `numpy.unique` was asked; ``classes[codes]`` equals labels

    Raises
    ------
    TypeError : objects that do not compare, as `numpy.unique` does
    """
    kind = labels.dtype.kind
    encoded = None
    if len(labels) and labels.itemsize:
        if kind in "biuf":
            encoded = _encode_numbers(labels)
        elif kind in "US":
            encoded = encode_items(labels, sort_labels)
        elif kind == "O":
            encoded = encode_objects(labels)
    return np.unique(labels, return_inverse=True) if encoded is None else encoded
