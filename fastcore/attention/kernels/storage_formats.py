"""Formats in which a cache stores rows of keys and values, as kernels know them: see `fastcore.kvcache.formats`."""

F32, F16, BF16, INT8, INT4 = range(5)

# Rows are padded to a multiple of VECTOR numbers, those of int4 to whole groups, which have a scale each.
VECTOR = 16
GROUP = 32
