"""What the kernels of cached attention are told: one record of integers a sequence, and one for what all share.

Integers and addresses instead of arrays, because sequences come with queries and pages of their own, and because each
array argument of a compiled function costs 0.1 us a call. The arrays stay alive in the caller's frame.
"""

from typing import Any, NamedTuple

# A sequence. Addresses of float32 queries and results with their strides (elements) along heads and tokens; numbers of
# new tokens and of all tokens; addresses of the page numbers (int64; 0: rows are numbered as the slots) and of its
# stored rows. The rest is filled in by `plan`.
(
    QUERY, QUERY_HEAD, QUERY_TOKEN, OUT, OUT_HEAD, OUT_TOKEN, NEW, LENGTH, TABLE, KEYS, VALUES, KEY_SCALES,
    VALUE_SCALES, FIRST_ITEM, SHARE_KEYS, SHARES_AT, FINISHED,
) = range(17)  # fmt: skip
RECORD = 17

# All sequences. Strides in bytes; a page of one head has PAGE_SIZE rows, one of all heads PAGE_ROWS. Key j of a query
# at position i takes part iff j <= i (CAUSAL) and j > i - WINDOW or j < SINKS. Behind the first SINKS rows the others
# are a RING of so many (0: none). STORED and the next three are the addresses of all rows and scales. The last ones are
# filled in by `plan`: items, elements of shares and of a thread's
# scratch, heads with shares to merge, and whether a sequence has many query rows.
(
    SEQUENCES, HEADS, GROUPS, SIZE, VALUE_SIZE, KEY_ROW, KEY_HEAD, VALUE_ROW, VALUE_HEAD, KEY_SCALE_ROW,
    KEY_SCALE_HEAD, VALUE_SCALE_ROW, VALUE_SCALE_HEAD, PAGE_SIZE, PAGE_ROWS, CAUSAL, WINDOW, SINKS, RING, FORMAT,
    STORED, STORED_VALUES, STORED_KEY_SCALES, STORED_VALUE_SCALES, ITEMS, SHARES, FINISHERS, SCRATCH, HAS_MANY,
) = range(29)  # fmt: skip
LAYOUT = 29


class Side(NamedTuple):
    """Stored keys or values of one head: row 0 as typed pointer and as address, strides in bytes, units of a row."""

    base: Any
    address: int
    row_bytes: int
    scales: int
    scale_bytes: int
    units: int
    columns: int


class Ahead(NamedTuple):
    """Rows that are read next, to be fetched meanwhile; ``rows`` points into their table."""

    address: int
    row_bytes: int
    rows: Any


class Span(NamedTuple):
    """The keys that take part for some query of a sequence: positions [0, sunk), then [low, low + keys - sunk)."""

    sunk: int
    low: int
    keys: int


class FixedQueries(NamedTuple):
    """Queries of 16 bits, see `row_products.dot_fixed`; without them ``stride`` is 0."""

    planes: Any
    stride: int
    factors: Any
    corrections: Any


class QueryRows(NamedTuple):
    """A tile of queries and what is summed for it: rows of ``columns``, statistics as one vector (lane % queries)."""

    queries: Any
    columns: int
    accumulated: Any
    value_columns: int
    reference: Any
    total: Any
    fixed: FixedQueries


class DecodeScratch(NamedTuple):
    """All query rows of an item, `QueryRows` one after another, and room for a block's scores."""

    queries: Any
    columns: int
    accumulated: Any
    value_columns: int
    reference: Any
    total: Any
    kept: Any
    panel: Any
    masked: Any
    vector: Any
    fixed: FixedQueries
    weight_planes: Any
    weight_factors: Any
