"""Attention of new tokens to their sequences' stored keys and values."""

from collections.abc import Sequence

import numpy as np

from fastcore._core.validate import NO_BOUND
from fastcore.attention.kernels import records as R
from fastcore.attention.kernels.cached import NO_NUMBERS, attend_cached
from fastcore.kvcache.formats import FORMAT
from fastcore.kvcache.storage import Storage

__all__ = ["NO_NUMBERS", "Reader"]


class Reader:
    """Attends sequences of one storage. It keeps what is the same for all calls: its arrays never move.

    Parameters
    ----------
    window, sinks, ring_rows : where there is a window, keys at positions j < sinks or j > position - window take part,
        and slots are those of a ring
    tables : addresses of the pages of the sequences, where each call attends the same ones
    """

    def __init__(
        self,
        storage: Storage,
        window: int | None = None,
        sinks: int = 0,
        ring_rows: int = 0,
        *,
        tables: np.ndarray | Sequence[int] = (),
    ) -> None:
        layout = np.zeros(R.LAYOUT, np.int64)
        arrays = storage.keys, storage.values, storage.key_scales, storage.value_scales
        layout[R.STORED : R.STORED + 4] = [0 if x is None else x.ctypes.data for x in arrays]
        strides = [(0, 0) if x is None else (x.strides[2], x.strides[1]) for x in arrays]
        (
            layout[[R.KEY_ROW, R.KEY_HEAD]], layout[[R.VALUE_ROW, R.VALUE_HEAD]],
            layout[[R.KEY_SCALE_ROW, R.KEY_SCALE_HEAD]], layout[[R.VALUE_SCALE_ROW, R.VALUE_SCALE_HEAD]],
        ) = strides  # fmt: skip
        layout[R.GROUPS] = storage.num_kv_heads
        layout[R.SIZE], layout[R.VALUE_SIZE] = storage.head_dim, storage.value_dim
        layout[R.PAGE_SIZE] = storage.page_size
        layout[R.PAGE_ROWS] = storage.page_size * storage.num_kv_heads
        layout[R.FORMAT] = FORMAT[storage.dtype].number
        layout[R.WINDOW] = NO_BOUND if window is None else window
        layout[R.SINKS], layout[R.RING] = sinks, ring_rows
        self._layout = layout
        self._records = np.zeros((len(tables), R.RECORD), np.int64)
        self._records[:, R.TABLE] = tables

    def attend(
        self,
        tables: np.ndarray | Sequence[int] | None,
        lengths: np.ndarray,
        query: np.ndarray,
        out: np.ndarray,
        scale: float,
        softcap: float,
        is_causal: bool,
        firsts: np.ndarray = NO_NUMBERS,
        counts: np.ndarray = NO_NUMBERS,
        apart: bool = False,
    ) -> None:
        """Attend the newest tokens of each sequence; not from two threads at once. See `attend_cached`.

        Parameters
        ----------
        tables : (n,) addresses of the sequences' pages, int64 each; None for those of the constructor
        softcap : 0 for none
        is_causal : whether a query sees keys up to its position only, else all of its sequence
        lengths, query, out, firsts, counts, apart : as in `attend_cached`
        """
        if tables is not None:
            if len(tables) != len(self._records):
                self._records = np.zeros((len(tables), R.RECORD), np.int64)
            self._records[:, R.TABLE] = tables
        self._layout[R.CAUSAL] = is_causal
        attend_cached(
            self._records, self._layout, query, out, lengths, scale=scale, softcap=softcap, firsts=firsts,
            counts=counts, apart=apart,
        )  # fmt: skip
