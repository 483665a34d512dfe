"""Labels that are Python objects: few distinct ones by their addresses, strings by their text, others by their hash."""

import numpy as np

from fastcore.metrics.kernels.distinct_items import distinct, recoded
from fastcore.metrics.kernels.joined_strings import as_items

# Distinct addresses in one chunk from which on the objects are read: resolving so many costs 0.1 us each.
MOST_ADDRESSES = 4096
# Types whose objects all compare with each other, and which no others equal.
_SORTABLE = ({str}, {int}, {bool}, {bytes})


def _as_array(objects):
    array = np.empty(len(objects), object)
    array[:] = objects
    return array


def _merge(values):
    """(sorted distinct, place of each) of a list of objects; None where only NumPy can say what it would do."""
    if set(map(type, values)) not in _SORTABLE:
        return None
    classes = sorted(set(values))
    places = {value: place for place, value in enumerate(classes)}
    return _as_array(classes), np.fromiter(map(places.__getitem__, values), np.int32, len(values))


def _items_of(values):
    """A list of strings as items of one width; None for other objects, strings with zeros, or much longer ones."""
    try:
        text = "\0".join(values).encode("utf-8", "surrogatepass")
    except TypeError:
        return None
    return as_items(text + bytes(9), len(values))


def encode_objects(labels):
    """(classes, codes (N,) int32) of (N,) objects, N > 0; None where only `numpy.unique` can say what they are."""
    found = distinct(labels, MOST_ADDRESSES)
    if found is None:
        values = labels.tolist()  # these stay alive, whatever another thread puts into the array
        items = _items_of(values)
        if items is None:
            return _merge(values)
        rows, codes, offsets, chunk = distinct(items)
        merged = _merge([values[row] for row in rows.tolist()])
    else:
        rows, codes, offsets, chunk = found
        merged = _merge(labels[rows].tolist())
    if merged is None:
        return None
    classes, ranks = merged
    return classes, recoded(codes, ranks, offsets, chunk)
