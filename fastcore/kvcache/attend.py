"""Attention of new tokens to their sequences' stored keys and values."""

from collections.abc import Sequence

import numpy as np

from fastcore._core.validate import NO_BOUND
from fastcore.attention.kernels import records as R
from fastcore.attention.kernels.cached import attend_cached
from fastcore.kvcache.formats import FORMAT
from fastcore.kvcache.storage import Storage


def _address(array: np.ndarray | None) -> int:
    return 0 if array is None else array.__array_interface__["data"][0]


def _strides(array: np.ndarray | None) -> tuple[int, int]:
    """Bytes from row to row and from head to head of (N, G, P, ...)."""
    return (0, 0) if array is None else (array.strides[2], array.strides[1])


def layout_of(storage: Storage) -> np.ndarray:
    """What is the same for all calls: sizes, strides and the storage format."""
    layout = np.zeros(R.LAYOUT, np.int64)
    layout[[R.KEY_ROW, R.KEY_HEAD]] = _strides(storage.keys)
    layout[[R.VALUE_ROW, R.VALUE_HEAD]] = _strides(storage.values)
    layout[[R.KEY_SCALE_ROW, R.KEY_SCALE_HEAD]] = _strides(storage.key_scales)
    layout[[R.VALUE_SCALE_ROW, R.VALUE_SCALE_HEAD]] = _strides(storage.value_scales)
    layout[R.GROUPS], layout[R.SIZE], layout[R.VALUE_SIZE] = storage.num_kv_heads, storage.head_dim, storage.value_dim
    layout[R.PAGE_SIZE] = storage.page_size
    layout[R.PAGE_ROWS] = storage.page_size * storage.num_kv_heads
    layout[R.FORMAT] = FORMAT[storage.dtype].number
    return layout


def attend_sequences(
    storage: Storage,
    tables: Sequence[np.ndarray],
    lengths: Sequence[int],
    queries: Sequence[np.ndarray],
    outs: Sequence[np.ndarray],
    *,
    scale: float,
    softcap: float,
    is_causal: bool,
    window: int | None = None,
    sinks: int = 0,
    ring_rows: int = 0,
) -> None:
    """Attend the newest tokens of each sequence to the keys they see.

    Parameters
    ----------
    tables : of each sequence its pages, int64, C-contiguous
    lengths : tokens of each one
    queries : of each one (H, T, D) float32 of any strides whose last axis is contiguous; T <= length. Query t has
        position length - T + t.
    outs : of each one (H, T, Dv), likewise; written
    softcap : 0 for none
    is_causal : whether a query sees keys up to its position only, else all of its sequence
    window, sinks, ring_rows : where there is a window, keys at positions j < sinks or j > position - window take part,
        and slots are those of the ring
    """
    if not tables:
        return
    layout = layout_of(storage)
    layout[R.SEQUENCES], layout[R.HEADS], layout[R.CAUSAL] = len(tables), queries[0].shape[0], is_causal
    layout[R.WINDOW] = NO_BOUND if window is None else window
    layout[R.SINKS], layout[R.RING] = sinks, ring_rows
    records = np.zeros((len(tables), R.RECORD), np.int64)
    stored = [_address(x) for x in (storage.keys, storage.values, storage.key_scales, storage.value_scales)]
    for record, table, length, query, out in zip(records, tables, lengths, queries, outs, strict=True):
        head, token, _ = query.strides
        out_head, out_token, _ = out.strides
        record[: R.FIRST_ITEM] = (
            _address(query), head // 4, token // 4, _address(out), out_head // 4, out_token // 4,
            query.shape[1], length, _address(table), *stored,
        )  # fmt: skip
    attend_cached(records, layout, scale, softcap)
