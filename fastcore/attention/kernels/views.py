"""What the kernels of attention hand to each other: small tuples of pointers and numbers."""

from typing import Any, NamedTuple


class Rows(NamedTuple):
    """``length`` rows in memory whose elements are contiguous; ``stride`` in elements."""

    pointer: Any
    stride: int
    length: int


class Stored(NamedTuple):
    """``length`` rows of an array in their storage format, F32 (as computed), F16 or BF16; ``stride`` in elements.

    ``floats`` or ``halves`` (their bits) points at them, depending on the format; the other one must not be read.
    """

    floats: Any
    halves: Any
    stride: int
    length: int
    storage: int


class Kind(NamedTuple):
    """How rows go into the two products of flash attention: kernels, one set for each number that is multiplied.

    ``columns(size, value_size, storage)`` : numbers of a row in `Scratch.block_keys`
    ``unit_of(scale, softcap, natural)`` : the `Scores.unit`; ``natural`` where something natural is added to the scores
    ``pack_queries(rows, size, factor, scratch)``, ``put_rows(scratch, size, rows)`` : queries in, results out
    ``scale_products(panel, vectors, factor)`` : what `pack_queries` left of the factor; whether the panel has changed
    ``load_keys``, ``load_values(rows, first, count, size, panel)`` : a block as the products read it
    ``score_keys``, ``all_finite``, ``add_values_where_kept`` : see `panels` and `masking`
    ``exponentiate(..., final)``, ``add_values(..., final)`` : see `softmax` and `panels`; nothing is done to ``final``
    weights in between
    """

    columns: Any
    unit_of: Any
    pack_queries: Any
    scale_products: Any
    load_keys: Any
    load_values: Any
    score_keys: Any
    all_finite: Any
    exponentiate: Any
    add_values: Any
    add_values_where_kept: Any
    put_rows: Any


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
    """How the raw products of a tile become scores: ``scale``, ``softcap`` (0: none); weights are 2^(``unit`` * score).

    ``lowest`` is the lowest finite number of the scores' type. ``score_mod`` is the address of the user's function over
    a panel (0: none), which is told ``batch`` and ``head``; ``slope`` is ALiBi's (0: none); ``sink`` is the logit of a
    weight without a value (-inf: none). Slope and sink are natural, as the caller gave them.
    """

    scale: float
    softcap: float
    unit: float
    lowest: float
    score_mod: int
    batch: int
    head: int
    slope: float
    sink: float


class Blocks(NamedTuple):
    """A tile's row of the block mask as bytes, ``stride`` elements from one block of keys to the next.

    ``address`` is that of the whole mask, 0 where there is none: then ``kept`` must not be read.
    """

    address: int
    kept: Any
    stride: int


class Changes(NamedTuple):
    """What changes the scores of a call beside softcap and mask, each None where it is not asked for.

    slopes (B or 1, H) and sinks (H,): C-contiguous float64; blocks (B, H, L / 64, S / 64) bool of any strides;
    score_mod: address of the function over a panel, 0 for none (`score_mod.address_of_loop`).
    """

    slopes: Any = None
    sinks: Any = None
    blocks: Any = None
    score_mod: int = 0


UNCHANGED = Changes()


class Scratch(NamedTuple):
    """Panels of ``width`` queries: packed queries, a block's weights, the output, mask addends and statistics.

    ``block_keys`` and ``block_values`` are room for a block whose rows cannot be read in place.
    """

    width: int
    queries: Any
    weights: Any
    accumulated: Any
    mask: Any
    mask_rows: Any
    peak: Any
    reference: Any
    total: Any
    block_keys: Any
    block_values: Any
