"""What the tests of the caches share."""

import numpy as np
import pytest

from fastcore import reference
from fastcore.kvcache.storage import FORMATS


@pytest.fixture(params=FORMATS)
def dtype(request):
    """Each storage format."""
    return request.param


def bits(array):
    """The same bytes as integers, so that NaN equals NaN and -0.0 is not 0.0."""
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")


@pytest.fixture(scope="session")
def assert_stored():
    """check(storage, table, slots, keys, values): rows (G, n, D) and (G, n, Dv) are stored there as the twin has it."""

    def check(storage, table, slots, keys, values):
        slots = np.asarray(slots)
        pages, places = table[slots // storage.page_size], slots % storage.page_size
        for x, rows, scales in (
            (keys, storage.keys, storage.key_scales),
            (values, storage.values, storage.value_scales),
        ):
            want = reference.quantize(x.swapaxes(0, 1), storage.dtype)
            np.testing.assert_array_equal(bits(rows[pages, :, places]), bits(want["rows"]))
            if scales is not None:
                np.testing.assert_array_equal(bits(scales[pages, :, places]), bits(want["scales"]))

    return check
