"""Manhattan distances between rows of a CSR matrix."""

from numba import prange, types

from fastcore._core.jit import kernel
from fastcore._core.work import SharedWork, call_by_address, next_item

NS_PER_ELEMENT = 3.0  # of two rows that are merged; their order of columns is not foreseeable


@kernel
def manhattan(data, columns, a, a_end, b, b_end):
    """Distance between the rows stored at [a, a_end) and [b, b_end), their columns rising."""
    total = 0.0
    while a < a_end and b < b_end:
        if columns[a] == columns[b]:
            total += abs(data[a] - data[b])
            a += 1
            b += 1
        elif columns[a] < columns[b]:
            total += abs(data[a])
            a += 1
        else:
            total += abs(data[b])
            b += 1
    for rest in range(a, a_end):
        total += abs(data[rest])
    for rest in range(b, b_end):
        total += abs(data[rest])
    return total


def fill_rows(data, columns, starts, first, out, counter):
    """Take rows until none is left: out[i] = distances of row first + i from all."""
    item = next_item(counter, -1)
    while item < out.shape[0]:
        begin, end = starts[first + item], starts[first + item + 1]
        for j in range(starts.size - 1):
            out[item, j] = manhattan(data, columns, begin, end, starts[j], starts[j + 1])
        item = next_item(counter, item)


def fill_rows_parallel(body, workers, data, columns, starts, first, out, counter):
    """`fill_rows` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (data, columns, starts, first, out, counter))


_VECTOR, _PLACES = types.Array(types.float64, 1, "C"), types.Array(types.int64, 1, "C")
_fill = SharedWork(
    fill_rows, fill_rows_parallel, [_VECTOR, _PLACES, _PLACES, types.int64, types.Array(types.float64, 2, "C")]
)


def manhattan_rows(data, columns, starts, first, out):
    """out (R, N) = Manhattan distances of rows from `first` on, of a CSR matrix with sorted columns, from all rows."""
    work_ns = NS_PER_ELEMENT * 2.0 * len(data) * len(out)
    _fill(work_ns, data, columns, starts, first, out)
