"""What the kernels of attention hand to each other: small tuples of pointers and numbers."""

from typing import Any, NamedTuple


class Rows(NamedTuple):
    """``length`` rows in memory whose elements are contiguous; ``stride`` in elements."""

    pointer: Any
    stride: int
    length: int


class Place(NamedTuple):
    """A tile of queries: of which sequence and head, where that has its rows and keys in the arrays, and which rows.

    Sequences that are packed lie one behind the other in ``batch`` 0; otherwise each has its own and starts at row 0.
    """

    sequence: int
    batch: int
    head: int
    start: int
    first_row: int
    rows: int
    width: int
    key_start: int
    keys: int


class Bounds(NamedTuple):
    """Position of the tile's first query; key j takes part iff position - left <= j <= position + right."""

    first_position: int
    left: int
    right: int


class Mask(NamedTuple):
    """A tile's mask from key 0 on, read as bytes (``kept``) or as addends; strides (query, key) in elements."""

    kind: int
    kept: Any
    added: Any
    strides: tuple[int, int]


class Dropout(NamedTuple):
    """Weights whose random word is below ``threshold`` are dropped, the others scaled by ``inverse_keep``."""

    threshold: Any
    inverse_keep: float
    seed: Any
    head: int
    first_row: int


class Scores(NamedTuple):
    """How raw products become scores: ``scale``, ``softcap`` (0: none); weights are 2^(``unit`` * score).

    ``lowest`` is the lowest finite number of the scores' type.
    """

    scale: float
    softcap: float
    unit: float
    lowest: float


class Scratch(NamedTuple):
    """Panels of ``width`` queries: packed queries, a block's weights, the output, mask addends and statistics."""

    width: int
    queries: Any
    weights: Any
    accumulated: Any
    mask: Any
    mask_rows: Any
    peak: Any
    reference: Any
    total: Any
